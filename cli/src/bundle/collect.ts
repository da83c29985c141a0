/** Finds out what a bundle of images has to hold: their manifests, their blobs, and all that refers to them. */
import { type Digest, digestAlgorithm, digestHex } from "@strata/protocol/oci/digest";
import { type Descriptor, ImageIndex, MANIFEST_SIZE_BYTES_MAX } from "@strata/protocol/oci/image";
import { formatReference, type Reference } from "@strata/protocol/oci/reference";
import { parseStrictJson } from "@strata/protocol/oci/strict-json";

import { CliError } from "../errors.ts";
import { headerOf, refusal, type StoreClient } from "../store/client.ts";
import { findManifest, type FoundManifest } from "../store/download.ts";
import { listTags, nextPage } from "../store/list.ts";
import { type Manifest, parseManifest } from "./manifest.ts";

/** One line of the bundle's `index.json`. */
export type Entry = {
  readonly repository: string;
  /** Undefined for what only its digest names. */
  readonly tag: string | undefined;
  readonly descriptor: Descriptor;
};

export type Collection = {
  readonly entries: readonly Entry[];
  readonly manifests: ReadonlyMap<Digest, Manifest>;
  /** Each blob once, with a repository that has it. */
  readonly blobs: ReadonlyMap<Digest, Descriptor & { readonly repository: string }>;
};

const MANIFESTS_MAX = 65_536;
const MANIFEST_BYTES_MAX = 256 * 1024 * 1024;
const NESTING_MAX = 8;
const PAGES_MAX = 100;
/** cosign's tags beside an image: its signatures, attestations and SBOMs. */
const suffixes = [".sig", ".att", ".sbom"] as const;

type Work = {
  readonly store: StoreClient;
  readonly entries: Map<string, Entry>;
  readonly manifests: Map<Digest, Manifest>;
  readonly blobs: Map<Digest, Descriptor & { readonly repository: string }>;
  /** Manifests by repository and digest that are done, or being done. */
  readonly seen: Set<string>;
  readonly tagsOf: Map<string, ReadonlySet<string>>;
  bytes: number;
};

/** @throws CliError REFUSED when an image or a part of it is not in the store */
export async function collect(
  store: StoreClient,
  references: readonly Reference[],
): Promise<Collection> {
  const work: Work = {
    store,
    entries: new Map(),
    manifests: new Map(),
    blobs: new Map(),
    seen: new Set(),
    tagsOf: new Map(),
    bytes: 0,
  };
  for (const reference of references) {
    const { repository } = reference;
    const found = await require(work, reference);
    const tag = "tag" in reference ? reference.tag : undefined;
    addEntry(work, { repository, tag, descriptor: found.descriptor });
    await addManifest(work, { repository, found, depth: 0 });
  }
  return { ...work, entries: [...work.entries.values()] };
}

async function require({ store }: Work, reference: Reference): Promise<FoundManifest> {
  const wanted = "digest" in reference ? reference.digest : reference.tag;
  const found = await findManifest(store, reference.repository, wanted);
  if (found !== undefined) return found;
  throw new CliError("REFUSED", `the store has no image ${formatReference(reference)}`, {
    hint: "strata cartridge ls shows what it has",
  });
}

type Step = {
  readonly repository: string;
  readonly found: FoundManifest;
  readonly depth: number;
};

async function addManifest(work: Work, { repository, found, depth }: Step): Promise<void> {
  const { descriptor, bytes } = found;
  const key = `${repository}@${descriptor.digest}`;
  if (work.seen.has(key)) return;
  work.seen.add(key);
  if (depth > NESTING_MAX) {
    throw new CliError("REFUSED", `what refers to ${repository} is over ${NESTING_MAX} deep`);
  }
  const manifest = parseManifest(descriptor, bytes);
  keep(work, manifest);
  for (const blob of manifest.blobs) {
    if (!work.blobs.has(blob.digest)) work.blobs.set(blob.digest, { ...blob, repository });
  }
  for (const { digest } of manifest.children) {
    const child = await require(work, { repository, digest });
    await addManifest(work, { repository, found: child, depth: depth + 1 });
  }
  await addReferrers(work, { repository, subject: descriptor.digest, depth });
  await addSignatureTags(work, { repository, subject: descriptor.digest, depth });
}

function keep(work: Work, manifest: Manifest): void {
  if (work.manifests.has(manifest.descriptor.digest)) return;
  work.bytes += manifest.bytes.length;
  if (work.bytes > MANIFEST_BYTES_MAX || work.manifests.size >= MANIFESTS_MAX) {
    throw new CliError("USAGE", "these are too many images for one bundle", {
      hint: `a bundle takes ${MANIFESTS_MAX} manifests of together 256 MiB: make several`,
    });
  }
  work.manifests.set(manifest.descriptor.digest, manifest);
}

type Subject = {
  readonly repository: string;
  readonly subject: Digest;
  readonly depth: number;
};

async function addReferrers(work: Work, { repository, subject, depth }: Subject): Promise<void> {
  for (const { digest } of await listReferrers(work, repository, subject)) {
    const found = await require(work, { repository, digest });
    addEntry(work, { repository, tag: undefined, descriptor: found.descriptor });
    await addManifest(work, { repository, found, depth: depth + 1 });
  }
}

/** distribution-spec v1.1, "Listing Referrers", and for registries without it "Referrers Tag Schema". */
async function listReferrers(
  { store }: Work,
  repository: string,
  subject: Digest,
): Promise<readonly Descriptor[]> {
  const found: Descriptor[] = [];
  let next: string | undefined = `/v2/${repository}/referrers/${subject}`;
  for (let page = 0; next !== undefined && page < PAGES_MAX; page += 1) {
    const answer = await store.send({ method: "GET", path: next });
    if (answer.status === 404) {
      const fallback = await findManifest(store, repository, referrersTag(subject));
      return fallback === undefined ? [] : parseReferrers(fallback.bytes);
    }
    if (answer.status !== 200) throw refusal(answer, `referrers of ${subject}`);
    found.push(...parseReferrers(Buffer.from(answer.body)));
    next = nextPage(headerOf(answer, "link"), store.origin);
  }
  return found;
}

function parseReferrers(bytes: Buffer): readonly Descriptor[] {
  if (bytes.length > 2 * MANIFEST_SIZE_BYTES_MAX) {
    throw new CliError("REFUSED", "the store's list of referrers is too long");
  }
  return ImageIndex.parse(parseStrictJson(bytes)).manifests;
}

async function addSignatureTags(
  work: Work,
  { repository, subject, depth }: Subject,
): Promise<void> {
  const tags = work.tagsOf.get(repository) ?? new Set(await listTags(work.store, repository));
  work.tagsOf.set(repository, tags);
  for (const suffix of suffixes) {
    const tag = `${referrersTag(subject)}${suffix}`;
    if (!tags.has(tag)) continue;
    const found = await require(work, { repository, tag });
    addEntry(work, { repository, tag, descriptor: found.descriptor });
    await addManifest(work, { repository, found, depth: depth + 1 });
  }
}

function referrersTag(subject: Digest): string {
  return `${digestAlgorithm(subject)}-${digestHex(subject)}`;
}

function addEntry(work: Work, entry: Entry): void {
  const { repository, tag, descriptor } = entry;
  const key = `${repository}:${tag ?? ""}@${descriptor.digest}`;
  if (!work.entries.has(key)) work.entries.set(key, entry);
}
