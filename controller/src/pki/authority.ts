/** The installation's own certificate authorities, made at first start. The first is trusted by agents, through the
 * fingerprint in their join token, and by nobody else; what it signs may be the controller or a node. The second signs
 * for the hosts of tenants, and people may trust it: so neither can speak for the other. */
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

/** A CA that only signs. */
export type Signer = Pick<Authority, "certificatePem" | "subject" | "signingKey">;

/** Reads the CA of the folder, or makes it. */
export async function ensureAuthority(directory: string, nowMs: number): Promise<Authority> {
  const { pem, ...signer } = await ensureSigner(directory, {
    name: "ca.pem",
    subject: "CN=Strata CA",
    nowMs,
  });
  const certificate = new X509Certificate(pem);
  const joinKey = Buffer.from(
    hkdfSync("sha256", privateKeyDer(pem), "", "strata join tokens", JOIN_KEY_BYTES),
  );
  return {
    ...signer,
    fingerprint: createHash("sha256").update(certificate.raw).digest("hex"),
    joinSecret: (tokenId) => createHmac("sha256", joinKey).update(tokenId).digest("base64url"),
  };
}

/** The CA for the hosts that ingresses answer for. */
export async function ensureIngressAuthority(directory: string, nowMs: number): Promise<Signer> {
  const { pem: _, ...signer } = await ensureSigner(directory, {
    name: "ingress-ca.pem",
    subject: "CN=Strata ingress CA",
    nowMs,
  });
  return signer;
}

type Wanted = { readonly name: string; readonly subject: string; readonly nowMs: number };

/** Key and certificate are one file, so that a crash cannot part them. */
async function ensureSigner(
  directory: string,
  { name, subject, nowMs }: Wanted,
): Promise<Signer & { readonly pem: string }> {
  const file = join(directory, name);
  if (!existsSync(file)) writeFileDurably(file, await createAuthorityPem(subject, nowMs));
  const pem = readFileSync(file, "utf8");
  return {
    pem,
    certificatePem: new X509Certificate(pem).toString(),
    subject,
    signingKey: await importPrivateKey(pem),
  };
}

async function createAuthorityPem(subject: string, nowMs: number): Promise<string> {
  const keys = await generateKey();
  const notAfter = new Date(nowMs);
  notAfter.setUTCFullYear(notAfter.getUTCFullYear() + LIFETIME_YEARS);
  const certificate = await X509CertificateGenerator.createSelfSigned(
    {
      name: subject,
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
