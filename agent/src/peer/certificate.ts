import { generateKeyPairSync } from "node:crypto";

import type { PeerCertificate, PeerCertificateRequest } from "@strata/protocol/agent/peers";

export type OwnCertificate = {
  readonly certPem: string;
  readonly keyPem: string;
  readonly caPem: string;
  readonly notAfterMs: number;
};

/** Makes a key, which stays in this program's memory, and has the controller sign it. */
export async function obtainCertificate(
  certify: (request: PeerCertificateRequest, signal: AbortSignal) => Promise<PeerCertificate>,
  signal: AbortSignal,
): Promise<OwnCertificate> {
  const { publicKey, privateKey } = generateKeyPairSync("ec", { namedCurve: "P-256" });
  const publicKeyPem = publicKey.export({ type: "spki", format: "pem" });
  const { certificatePem, caPem, notAfter } = await certify({ publicKeyPem }, signal);
  return {
    certPem: certificatePem,
    keyPem: privateKey.export({ type: "pkcs8", format: "pem" }),
    caPem,
    notAfterMs: Date.parse(notAfter),
  };
}
