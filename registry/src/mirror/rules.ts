import { RegistryError } from "../errors.ts";
import { compileGlob } from "../glob.ts";

/** Where some repositories come from. Addresses come from configuration alone, never from a request or an answer. */
export type MirrorRule = {
  /** Repositories `prefix/NAME` are the upstream's `NAME`; empty for the whole store. */
  readonly prefix: string;
  /** Origin of the upstream: `https://registry-1.docker.io`. */
  readonly upstream: string;
  /** Other hosts that the upstream may send us to, for tokens and for blobs, as patterns. */
  readonly hosts: readonly string[];
  readonly credentials: { readonly name: string; readonly password: string } | undefined;
  /** PEM of the authorities to trust instead of the system's. */
  readonly ca: string | undefined;
  /** The upstream's repositories that may be fetched, as patterns. */
  readonly repositories: readonly string[];
  /** How long a tag counts as current after it was looked up. */
  readonly tagTtlMs: number;
  /** Never ask the upstream: serve what is here. */
  readonly offline: boolean;
  readonly sync: readonly SyncRule[];
};

/** Copies whole repositories at an interval. */
export type SyncRule = {
  /** The upstream's repositories, as patterns; only with `*` or `?` in one is the upstream's catalog read. */
  readonly repositories: readonly string[];
  readonly tags: readonly string[];
  readonly everyMs: number;
  /** Copy what refers to each image as well, such as signatures. */
  readonly referrers: boolean;
};

/** A repository of ours, and what the upstream calls it. */
export type MirroredRepository = {
  readonly rule: MirrorRule;
  readonly repository: string;
  readonly name: string;
};

/** The rule with the longest prefix decides; undefined where none has it. */
export function findMirror(
  rules: readonly MirrorRule[],
  repository: string,
): MirroredRepository | undefined {
  const [rule] = rules
    .filter(({ prefix }) => prefix === "" || repository.startsWith(`${prefix}/`))
    .toSorted((a, b) => b.prefix.length - a.prefix.length);
  if (rule === undefined) return undefined;
  const name = rule.prefix === "" ? repository : repository.slice(rule.prefix.length + 1);
  return { rule, repository, name };
}

/** Whether the rule lets this repository be fetched at all, and now. */
export function mayFetch({ rule, name }: MirroredRepository): boolean {
  return !rule.offline && rule.repositories.some((pattern) => compileGlob(pattern)(name));
}

/** Content that is mirrored changes at its source alone. */
export function refusePush({ rule, repository }: MirroredRepository): RegistryError {
  return new RegistryError("DENIED", `${repository} is mirrored from ${rule.upstream}`, {
    hint: "push it there, or here under a name that is not mirrored",
  });
}
