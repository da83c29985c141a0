import { type Digest, isDigest } from "@strata/protocol/oci/digest";

import { RegistryError } from "../errors.ts";
import { type FetchedManifest, fetchManifest, lookUpTag, toStored } from "./fetch-manifest.ts";
import { createFlights } from "./flights.ts";
import type { FindClient, MirrorParts } from "./parts.ts";
import { mayFetch, type MirroredRepository } from "./rules.ts";
import type { UpstreamHealth } from "./upstream-health.ts";

export type MirroredManifests = {
  /** Brings what the reference names here, unless it is here and current. What is here and cannot be looked up now
   * stays in use. @throws RegistryError MANIFEST_UNKNOWN, UPSTREAM_… when there is nothing to serve */
  readonly bring: (place: MirroredRepository, reference: string) => Promise<void>;
  /** Stores a manifest under these tags. @throws RegistryError UPSTREAM_FAULTY when it contradicts what is stored */
  readonly store: (
    place: MirroredRepository,
    manifest: FetchedManifest,
    tags: readonly string[],
  ) => Promise<void>;
};

export type MirroredManifestOptions = MirrorParts & {
  readonly findClient: FindClient;
  readonly health: UpstreamHealth;
  readonly signal: AbortSignal;
};

/** What a client waits for the look-up of a tag whose manifest is here already. */
const LOOK_UP_MS_MAX = 5_000;
/** What one waits for a manifest that is not. */
const FETCH_MS_MAX = 60_000;
/** Tags whose last look-up is remembered; forgetting one costs another look-up. */
const CHECKED_MAX = 20_000;

type State = MirroredManifestOptions & {
  /** When a tag was last found current. */
  readonly checkedAt: Map<string, number>;
};

export function createMirroredManifests(options: MirroredManifestOptions): MirroredManifests {
  const state: State = { ...options, checkedAt: new Map() };
  const fly = createFlights<void>();
  return {
    bring: (place, reference) =>
      fly(keyOf(place, reference), () =>
        isDigest(reference)
          ? bringDigest(state, place, reference)
          : bringTag(state, place, reference),
      ),
    store: (place, manifest, tags) => store(state, place, { manifest, tags }),
  };
}

function keyOf({ repository }: MirroredRepository, reference: string): string {
  return `${repository}@${reference}`;
}

/** What has its digest for a name never changes. */
async function bringDigest(state: State, place: MirroredRepository, digest: Digest): Promise<void> {
  if (!mayFetch(place)) return;
  if ((await state.metadata.findManifestDescriptor(place.repository, digest)) !== undefined) return;
  await fetchAndStore(state, place, { reference: digest, tags: [] });
}

async function bringTag(state: State, place: MirroredRepository, tag: string): Promise<void> {
  const { metadata, logger, clock, checkedAt, health } = state;
  const { rule, repository } = place;
  if (!mayFetch(place)) return;
  const here = await metadata.findManifestDescriptor(repository, tag);
  const key = keyOf(place, tag);
  if (here === undefined) {
    await fetchAndStore(state, place, { reference: tag, tags: [tag] });
    noteChecked(state, key);
    return;
  }
  if (clock() - (checkedAt.get(key) ?? -Infinity) < rule.tagTtlMs) return;
  if (health.isDown(rule)) return;
  try {
    await lookAgain(state, place, { tag, digest: here.digest });
    noteChecked(state, key);
  } catch (error) {
    // The upstream's word that there is no such tag counts; its silence does not.
    if (error instanceof RegistryError && error.code === "MANIFEST_UNKNOWN") throw error;
    health.note(rule, error);
    logger.warn({ err: error, repository, tag }, "tag not looked up: what is here is served");
  }
}

function noteChecked({ checkedAt, clock }: State, key: string): void {
  checkedAt.delete(key);
  checkedAt.set(key, clock());
  const [oldest] = checkedAt.keys();
  if (checkedAt.size > CHECKED_MAX && oldest !== undefined) checkedAt.delete(oldest);
}

/** One short try: the client has something to go on with. */
async function lookAgain(
  state: State,
  place: MirroredRepository,
  { tag, digest }: { readonly tag: string; readonly digest: Digest },
): Promise<void> {
  const signal = AbortSignal.any([state.signal, AbortSignal.timeout(LOOK_UP_MS_MAX)]);
  const client = state.findClient(place.rule);
  const call = { client, place, reference: tag, signal, attemptsMax: 1 };
  if ((await lookUpTag(call)) === digest) return;
  const manifest = await fetchManifest(call, state.limits.manifestSizeBytesMax);
  await store(state, place, { manifest, tags: [tag] });
}

async function fetchAndStore(
  state: State,
  place: MirroredRepository,
  { reference, tags }: { readonly reference: string; readonly tags: readonly string[] },
): Promise<void> {
  const signal = AbortSignal.any([state.signal, AbortSignal.timeout(FETCH_MS_MAX)]);
  const call = { client: state.findClient(place.rule), place, reference, signal };
  const manifest = await fetchManifest(call, state.limits.manifestSizeBytesMax);
  await store(state, place, { manifest, tags });
}

async function store(
  { metadata, clock, quota, onTagMoved }: State,
  place: MirroredRepository,
  { manifest, tags }: { readonly manifest: FetchedManifest; readonly tags: readonly string[] },
): Promise<void> {
  const { repository, rule } = place;
  const { digest } = manifest;
  const stored = toStored(manifest, { repository, tags, at: clock() });
  const result = await metadata.putManifest({ ...stored, quota: quota(repository) });
  if (result.kind !== "stored") {
    throw new RegistryError(
      "UPSTREAM_FAULTY",
      `${rule.upstream}: its manifest ${digest} gives a blob another size than it has`,
    );
  }
  for (const { tag, previous } of result.moves) {
    if (previous !== digest) onTagMoved({ repository, tag, digest, previous });
  }
}
