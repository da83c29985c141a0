import { webcrypto } from "node:crypto";
import { isIP } from "node:net";

import type { Signer } from "./authority.ts";
import { importPublicKey, KEY_ALGORITHM, SIGNATURE } from "./key.ts";
import {
  AuthorityKeyIdentifierExtension,
  BasicConstraintsExtension,
  ExtendedKeyUsage,
  ExtendedKeyUsageExtension,
  KeyUsageFlags,
  KeyUsagesExtension,
  SubjectAlternativeNameExtension,
  SubjectKeyIdentifierExtension,
  X509CertificateGenerator,
} from "./x509.ts";

export type Leaf = {
  readonly subject: string;
  /** Host names and addresses. */
  readonly names: readonly string[];
  readonly publicKey: webcrypto.CryptoKey;
  readonly notBeforeMs: number;
  readonly notAfterMs: number;
};

/** A certificate for a TLS server, as PEM. */
export async function signCertificate(authority: Signer, leaf: Leaf): Promise<string> {
  const { subject, names, publicKey, notBeforeMs, notAfterMs } = leaf;
  const authorityKey = await importPublicKey(authority.certificatePem);
  const certificate = await X509CertificateGenerator.create(
    {
      subject,
      issuer: authority.subject,
      notBefore: new Date(notBeforeMs),
      notAfter: new Date(notAfterMs),
      publicKey,
      signingKey: authority.signingKey,
      signingAlgorithm: { ...KEY_ALGORITHM, ...SIGNATURE },
      extensions: [
        new BasicConstraintsExtension(false, undefined, true),
        new KeyUsagesExtension(KeyUsageFlags.digitalSignature, true),
        new ExtendedKeyUsageExtension([ExtendedKeyUsage.serverAuth]),
        // Strict verifiers (Python since 3.13) ask for both.
        await SubjectKeyIdentifierExtension.create(publicKey, false, webcrypto),
        await AuthorityKeyIdentifierExtension.create(authorityKey, false, webcrypto),
        new SubjectAlternativeNameExtension(
          names.map((value) => ({ type: isIP(value) === 0 ? "dns" : "ip", value })),
        ),
      ],
    },
    webcrypto,
  );
  return certificate.toString("pem");
}
