import { ParseError } from "../coded-error.ts";
import { type Digest, isDigest } from "./digest.ts";

/** distribution-spec v1.1, "Pulling manifests": the grammar of `<name>` and of `<reference>` as a tag. */
const repositoryGrammar =
  /^[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*(?:\/[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*)*$/;
const tagGrammar = /^[a-zA-Z0-9_][a-zA-Z0-9._-]{0,127}$/;
/** Many clients limit host and name together to 255. */
const REPOSITORY_LENGTH_MAX = 255;

export type Reference =
  | { readonly repository: string; readonly tag: string }
  | { readonly repository: string; readonly digest: Digest };

export function isRepository(text: string): boolean {
  return text.length <= REPOSITORY_LENGTH_MAX && repositoryGrammar.test(text);
}

export function isTag(text: string): boolean {
  return tagGrammar.test(text);
}

/** `php`, `php:8.2` or `team/php@sha256:…`, always in our own store; no tag means `latest`.
 * @throws ParseError */
export function parseReference(text: string): Reference {
  const at = text.indexOf("@");
  if (at >= 0) {
    const repository = text.slice(0, at);
    const digest = text.slice(at + 1);
    if (isRepository(repository) && isDigest(digest)) return { repository, digest };
  } else {
    const colon = text.lastIndexOf(":");
    const repository = colon < 0 ? text : text.slice(0, colon);
    const tag = colon < 0 ? "latest" : text.slice(colon + 1);
    if (isRepository(repository) && isTag(tag)) return { repository, tag };
  }
  throw new ParseError(`${JSON.stringify(text.slice(0, 300))} is not an image reference`, {
    hint: "write repository:tag or repository@sha256:…, without a host: images come from the built-in store",
  });
}

export function formatReference(reference: Reference): string {
  return "digest" in reference
    ? `${reference.repository}@${reference.digest}`
    : `${reference.repository}:${reference.tag}`;
}
