import type { Branded } from "../brand.ts";
import { ParseError } from "../coded-error.ts";

/** `sha256:<64 hex>` or `sha512:<128 hex>`, lower case: OCI image-spec v1.1, "Digests". */
export type Digest = Branded<"Digest">;
export type DigestAlgorithm = "sha256" | "sha512";

const grammar = /^(?:sha256:[a-f0-9]{64}|sha512:[a-f0-9]{128})$/;

export function isDigest(text: string): text is Digest {
  return grammar.test(text);
}

/** @throws ParseError for another algorithm, a wrong length or upper case. */
export function parseDigest(text: string): Digest {
  if (isDigest(text)) return text;
  throw new ParseError(`${JSON.stringify(text.slice(0, 200))} is not a sha256 or sha512 digest`);
}

export function digestAlgorithm(digest: Digest): DigestAlgorithm {
  return digest.startsWith("sha256:") ? "sha256" : "sha512";
}

/** The hexadecimal part. Safe as a file name. */
export function digestHex(digest: Digest): string {
  return digest.slice(digest.indexOf(":") + 1);
}
