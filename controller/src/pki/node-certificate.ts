/** With what a node proves to other nodes who it is. Its key never leaves it. */
import type { Authority } from "./authority.ts";
import { importPublicKey } from "./key.ts";
import { signCertificate } from "./sign-certificate.ts";

export type NodeCertificate = {
  readonly certificatePem: string;
  readonly notAfterMs: number;
};

export type NodeCertificateRequest = {
  /** The certificate's only name. */
  readonly nodeId: string;
  /** Of a P-256 key. */
  readonly publicKeyPem: string;
  readonly nowMs: number;
};

const LIFETIME_MS = 30 * 86_400_000;

/** Undefined when the key is none that we sign. */
export async function issueNodeCertificate(
  authority: Authority,
  { nodeId, publicKeyPem, nowMs }: NodeCertificateRequest,
): Promise<NodeCertificate | undefined> {
  const publicKey = await importPublicKey(publicKeyPem).catch(() => undefined);
  if (publicKey === undefined) return undefined;
  const notAfterMs = nowMs + LIFETIME_MS;
  const certificatePem = await signCertificate(authority, {
    subject: "CN=Strata node",
    names: [nodeId],
    publicKey,
    notBeforeMs: nowMs - 3_600_000,
    notAfterMs,
  });
  return { certificatePem, notAfterMs };
}
