import { type Digest, isDigest } from "@strata/protocol/oci/digest";
import { isTag } from "@strata/protocol/oci/reference";

import { RegistryError } from "../errors.ts";
import type { Page } from "../metadata-store.ts";

/** @throws RegistryError DIGEST_INVALID also for algorithms that we do not know */
export function requireDigest(text: string | null): Digest {
  if (text !== null && isDigest(text)) return text;
  throw new RegistryError(
    "DIGEST_INVALID",
    `${JSON.stringify(text?.slice(0, 200) ?? null)} is no digest`,
    {
      hint: "use sha256 or sha512 and lower-case hexadecimal",
    },
  );
}

export function requireTag(text: string): string {
  if (isTag(text)) return text;
  throw new RegistryError("TAG_INVALID", `${JSON.stringify(text.slice(0, 200))} is no tag`, {
    hint: "use up to 128 letters, digits, _ . and -, not beginning with . or -",
  });
}

/** A tag or a digest. Text with a colon is meant as a digest, and never taken for a tag. */
export function requireReference(text: string): string {
  return text.includes(":") ? requireDigest(text) : requireTag(text);
}

/** Reads `n` and `last`. Without `n`, a page has as many entries as one may.
 * @throws RegistryError PAGINATION_NUMBER_INVALID */
export function parsePage(query: URLSearchParams, entriesMax: number): Page {
  const last = query.get("last") ?? undefined;
  const n = query.get("n");
  if (n === null) return { last, limit: entriesMax };
  if (!/^\d{1,15}$/.test(n)) {
    throw new RegistryError("PAGINATION_NUMBER_INVALID", "n must be a whole number, 0 or more");
  }
  return { last, limit: Math.min(Number(n), entriesMax) };
}
