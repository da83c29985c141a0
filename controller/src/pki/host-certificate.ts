/** Certificates of the ingress' own CA. */
import type { Signer } from "./authority.ts";
import { exportPrivateKey, generateKey } from "./key.ts";
import { type CheckedCertificate, readCertificate } from "./read-certificate.ts";
import { signCertificate } from "./sign-certificate.ts";

const LIFETIME_MS = 90 * 86_400_000;

/** A certificate for these hosts, with a key of its own. */
export async function issueHostCertificate(
  authority: Signer,
  { hosts, nowMs }: { readonly hosts: readonly string[]; readonly nowMs: number },
): Promise<CheckedCertificate> {
  const { publicKey, privateKey } = await generateKey();
  const chain = await signCertificate(authority, {
    subject: "CN=Strata ingress",
    names: hosts,
    publicKey,
    notBeforeMs: nowMs - 3_600_000,
    notAfterMs: nowMs + LIFETIME_MS,
  });
  return readCertificate({ chain, key: await exportPrivateKey(privateKey) }, nowMs);
}
