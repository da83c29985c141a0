/** Credentials: `strata_<id>_<secret>`. The id finds the row, the secret is compared in constant time.
 *
 * Only the SHA-256 of a secret is stored. A slow password hash would buy nothing: secrets are 256 random bits that we
 * made ourselves, so nobody can guess them from the hash, and every request pays for the check. */
import { createHash, timingSafeEqual } from "node:crypto";

const grammar = /^strata_([a-z0-9-]{1,63})_([A-Za-z0-9_-]{20,100})$/;

export type Credential = { readonly id: string; readonly secret: string };

export function formatCredential({ id, secret }: Credential): string {
  return `strata_${id}_${secret}`;
}

/** Undefined for text that is no credential. */
export function readCredential(text: string): Credential | undefined {
  const [, id, secret] = grammar.exec(text.trim()) ?? [];
  return id === undefined || secret === undefined ? undefined : { id, secret };
}

/** Lower-case hexadecimal. */
export function hashSecret(secret: string): string {
  return createHash("sha256").update(secret).digest("hex");
}

export function secretMatches(secret: string, secretHash: string): boolean {
  const given = Buffer.from(hashSecret(secret), "hex");
  const known = Buffer.from(secretHash, "hex");
  return given.length === known.length && timingSafeEqual(given, known);
}
