/** The installation's own certificate authority: made at first start, trusted by agents through the fingerprint in
 * their join token and by nobody else. */
import { createHash, createHmac, hkdfSync, webcrypto, X509Certificate } from "node:crypto";
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";

import { writeFileDurably } from "./durable-file.ts";
import {
  exportPrivateKey,
  generateKey,
  importPrivateKey,
  KEY_ALGORITHM,
  privateKeyDer,
  SIGNATURE,
} from "./key.ts";
import {
  BasicConstraintsExtension,
  KeyUsageFlags,
  KeyUsagesExtension,
  SubjectKeyIdentifierExtension,
  X509CertificateGenerator,
} from "./x509.ts";

export type Authority = {
  readonly certificatePem: string;
  /** SHA-256 of the certificate's DER, hexadecimal. */
  readonly fingerprint: string;
  readonly subject: string;
  readonly signingKey: webcrypto.CryptoKey;
  /** The secret of the join token with this id, the same at every call: the database keeps its hash alone. */
  readonly joinSecret: (tokenId: string) => string;
};

const LIFETIME_YEARS = 10;
const JOIN_KEY_BYTES = 32;
const SUBJECT = "CN=Strata CA";

/** Reads the CA of the folder, or makes it. Key and certificate are one file, so that a crash cannot part them. */
export async function ensureAuthority(directory: string, nowMs: number): Promise<Authority> {
  const file = join(directory, "ca.pem");
  if (!existsSync(file)) writeFileDurably(file, await createAuthorityPem(nowMs));
  const pem = readFileSync(file, "utf8");
  const certificate = new X509Certificate(pem);
  const joinKey = Buffer.from(
    hkdfSync("sha256", privateKeyDer(pem), "", "strata join tokens", JOIN_KEY_BYTES),
  );
  return {
    certificatePem: certificate.toString(),
    fingerprint: createHash("sha256").update(certificate.raw).digest("hex"),
    subject: SUBJECT,
    signingKey: await importPrivateKey(pem),
    joinSecret: (tokenId) => createHmac("sha256", joinKey).update(tokenId).digest("base64url"),
  };
}

async function createAuthorityPem(nowMs: number): Promise<string> {
  const keys = await generateKey();
  const notAfter = new Date(nowMs);
  notAfter.setUTCFullYear(notAfter.getUTCFullYear() + LIFETIME_YEARS);
  const certificate = await X509CertificateGenerator.createSelfSigned(
    {
      name: SUBJECT,
      keys,
      // An hour back: agents whose clock is a little behind shall accept it at once.
      notBefore: new Date(nowMs - 3_600_000),
      notAfter,
      signingAlgorithm: { ...KEY_ALGORITHM, ...SIGNATURE },
      extensions: [
        new BasicConstraintsExtension(true, 0, true),
        new KeyUsagesExtension(KeyUsageFlags.keyCertSign | KeyUsageFlags.cRLSign, true),
        await SubjectKeyIdentifierExtension.create(keys.publicKey, false, webcrypto),
      ],
    },
    webcrypto,
  );
  return `${certificate.toString("pem")}\n${await exportPrivateKey(keys.privateKey)}`;
}
