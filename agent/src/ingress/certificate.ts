import { createPrivateKey, X509Certificate } from "node:crypto";

import type { IngressCertificate } from "@strata/protocol/agent/network";

/** Says whether a certificate can be served: one that cannot would keep HAProxy from loading all others. What was said
 * of a file is remembered for as long as it is asked for. */
export function createCertificateCheck(): (
  certificates: readonly IngressCertificate[],
) => (certificate: IngressCertificate) => boolean {
  let known = new Map<string, boolean>();
  return (certificates) => {
    known = new Map(certificates.map(({ pem }) => [pem, known.get(pem) ?? isWhole(pem)]));
    return ({ pem }) => known.get(pem) ?? false;
  };
}

function isWhole(pem: string): boolean {
  try {
    // The first certificate is the server's own; all others of the chain have to parse too.
    const chain = pem.match(/-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----/g) ?? [];
    const [own] = chain.map((text) => new X509Certificate(text));
    return own?.checkPrivateKey(createPrivateKey(pem)) ?? false;
  } catch {
    return false;
  }
}
