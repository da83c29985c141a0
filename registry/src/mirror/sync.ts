/** Copies whole images from an upstream, so that they are here before somebody asks. */
import { getErrorCode } from "@strata/protocol/errors";
import type { Digest } from "@strata/protocol/oci/digest";

import { RegistryError } from "../errors.ts";
import { compileGlob } from "../glob.ts";
import { parseManifest } from "../manifest/parse-manifest.ts";
import type { ManifestReference } from "../metadata-store.ts";
import { faulty } from "./errors.ts";
import { type FetchedManifest, fetchManifest } from "./fetch-manifest.ts";
import type { MirroredBlobs } from "./mirrored-blobs.ts";
import type { MirroredManifests } from "./mirrored-manifests.ts";
import type { FindClient, MirrorParts } from "./parts.ts";
import { mayFetch, type MirroredRepository, type MirrorRule, type SyncRule } from "./rules.ts";
import {
  type ListCall,
  listUpstreamReferrers,
  walkUpstreamRepositories,
  walkUpstreamTags,
} from "./upstream-lists.ts";

export type SyncReport = {
  readonly repositories: number;
  /** Tags that are here now, whole. */
  readonly tags: number;
  /** What came; the rest was here. */
  readonly manifests: number;
  readonly blobs: number;
  /** The first of what did not come, with the code of its error. */
  readonly failed: readonly { readonly name: string; readonly code: string }[];
  /** Whether the signal ended it early. */
  readonly aborted: boolean;
};

export type SyncOptions = MirrorParts & {
  readonly findClient: FindClient;
  readonly manifests: MirroredManifests;
  readonly mirroredBlobs: MirroredBlobs;
  readonly signal: AbortSignal;
};

/** Index in index in index; and what refers to what refers. */
const DEPTH_MAX = 4;
const FAILED_NAMED_MAX = 100;
const REPOSITORIES_MAX = 10_000;
const TAGS_MAX = 10_000;

type Tally = {
  repositories: number;
  tags: number;
  manifests: number;
  blobs: number;
  readonly failed: { readonly name: string; readonly code: string }[];
};

type State = SyncOptions & {
  readonly rule: MirrorRule;
  readonly wanted: SyncRule;
  readonly call: ListCall;
  readonly tally: Tally;
};

/** One image after the other. What fails is reported, and the others go on. */
export async function syncMirror(
  options: SyncOptions,
  rule: MirrorRule,
  wanted: SyncRule,
): Promise<SyncReport> {
  const { signal, findClient } = options;
  const tally: Tally = { repositories: 0, tags: 0, manifests: 0, blobs: 0, failed: [] };
  const call: ListCall = { client: findClient(rule), rule, signal };
  const state: State = { ...options, rule, wanted, call, tally };
  for (const name of (await attempt(state, rule.upstream, () => findRepositories(state))) ?? []) {
    if (signal.aborted) break;
    const repository = rule.prefix === "" ? name : `${rule.prefix}/${name}`;
    const place: MirroredRepository = { rule, repository, name };
    if (!mayFetch(place)) continue;
    tally.repositories += 1;
    await attempt(state, name, () => syncRepository(state, place));
  }
  return { ...tally, aborted: signal.aborted };
}

/** Undefined when the body fails. */
async function attempt<Result>(
  { tally, logger, signal }: State,
  name: string,
  body: () => Promise<Result>,
): Promise<Result | undefined> {
  try {
    return await body();
  } catch (err) {
    if (signal.aborted) return undefined;
    logger.warn({ err, name }, "not copied from the upstream");
    if (tally.failed.length < FAILED_NAMED_MAX) {
      tally.failed.push({ name, code: getErrorCode(err) ?? "INTERNAL" });
    }
    return undefined;
  }
}

async function findRepositories({ wanted, call }: State): Promise<readonly string[]> {
  const isPattern = (text: string): boolean => /[*?]/.test(text);
  const names = new Set(wanted.repositories.filter((text) => !isPattern(text)));
  const patterns = wanted.repositories.filter(isPattern).map(compileGlob);
  if (patterns.length === 0) return [...names];
  for await (const name of walkUpstreamRepositories(call)) {
    if (patterns.some((matches) => matches(name))) names.add(name);
    if (names.size >= REPOSITORIES_MAX) break;
  }
  return [...names];
}

async function syncRepository(state: State, place: MirroredRepository): Promise<void> {
  const { wanted, call, signal, tally } = state;
  const patterns = wanted.tags.map(compileGlob);
  let count = 0;
  for await (const tag of walkUpstreamTags(call, place.name)) {
    if (signal.aborted || count >= TAGS_MAX) return;
    if (!patterns.some((matches) => matches(tag))) continue;
    count += 1;
    const done = async (): Promise<boolean> => {
      await syncTag(state, place, tag);
      return true;
    };
    if (await attempt(state, `${place.name}:${tag}`, done)) tally.tags += 1;
  }
}

/** The tag moves only when all that it leads to is here. */
async function syncTag(state: State, place: MirroredRepository, tag: string): Promise<void> {
  const { call, limits, metadata, manifests, tally } = state;
  const asked = { client: call.client, place, reference: tag, signal: call.signal };
  const manifest = await fetchManifest(asked, limits.manifestSizeBytesMax);
  await bringParts(state, place, { ...manifest, depth: 0 });
  const here = await metadata.findManifestDescriptor(place.repository, tag);
  if (here?.digest === manifest.digest) return;
  await manifests.store(place, manifest, [tag]);
  tally.manifests += 1;
}

type Node = Pick<FetchedManifest, "digest" | "parsed"> & { readonly depth: number };

async function bringParts(state: State, place: MirroredRepository, node: Node): Promise<void> {
  const { wanted, call } = state;
  for (const reference of node.parsed.references) {
    call.signal.throwIfAborted();
    if (reference.kind === "manifest")
      await bringManifest(state, place, { ...reference, depth: node.depth + 1 });
    else await bringBlob(state, place, reference);
  }
  if (!wanted.referrers) return;
  for (const { digest } of await listUpstreamReferrers(call, place.name, node.digest)) {
    await bringManifest(state, place, { digest, depth: node.depth + 1 });
  }
}

async function bringManifest(
  state: State,
  place: MirroredRepository,
  { digest, depth }: { readonly digest: Digest; readonly depth: number },
): Promise<void> {
  const { metadata, limits, call, manifests, rule, tally } = state;
  if (depth > DEPTH_MAX) throw faulty(rule.upstream, `${digest} is nested too deeply`);
  const here = await metadata.findManifest(place.repository, digest);
  if (here !== undefined) {
    const parsed = parseManifest(here.body, here.mediaType);
    return bringParts(state, place, { digest: here.digest, parsed, depth });
  }
  const asked = { client: call.client, place, reference: digest, signal: call.signal };
  const manifest = await fetchManifest(asked, limits.manifestSizeBytesMax);
  await bringParts(state, place, { ...manifest, depth });
  await manifests.store(place, manifest, []);
  tally.manifests += 1;
}

/** Layers that no registry need have are left out, when the upstream has them not. */
async function bringBlob(
  { mirroredBlobs, tally }: State,
  place: MirroredRepository,
  { digest, required }: ManifestReference,
): Promise<void> {
  try {
    const fetch = await mirroredBlobs.fetch(place, digest);
    if (fetch === undefined) return;
    await fetch.done;
    tally.blobs += 1;
  } catch (error) {
    const isAbsent = error instanceof RegistryError && error.code === "BLOB_UNKNOWN";
    if (required || !isAbsent) throw error;
  }
}
