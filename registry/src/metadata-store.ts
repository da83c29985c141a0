import type { Digest } from "@strata/protocol/oci/digest";

import type { Quota } from "./quota.ts";

/** Every method is one atomic step, durable when its promise resolves. Times are milliseconds since 1970, and like
 * ids they come from the caller. Drivers throw the database's own errors (`SQLITE_FULL` when the disk is full), and
 * RegistryError DENIED, with nothing changed, for what exceeds a `quota` given. */

/** A page of a list in byte order: entries greater than `last`, at most `limit`. */
export type Page = { readonly last: string | undefined; readonly limit: number };

export type PutBlob = {
  readonly repository: string;
  readonly digest: Digest;
  readonly sizeBytes: number;
  /** The upload that it came from is forgotten in the same step. */
  readonly uploadId: string | undefined;
  readonly at: number;
  readonly quota?: Quota | undefined;
};

export type RestoreBlob = Pick<PutBlob, "digest" | "sizeBytes" | "at">;

export type MountBlob = {
  readonly from: string;
  readonly repository: string;
  readonly digest: Digest;
  readonly at: number;
  readonly quota?: Quota | undefined;
};

/** absent      the repository has no such blob
 * referenced  a manifest of the repository needs it: nothing was changed
 * unlinked    gone from this repository, others still have it
 * unused      gone from the last repository: the bytes may go too */
export type RemoveBlobResult = "absent" | "referenced" | "unlinked" | "unused";

export type BlobIndex = {
  /** Size of a blob that the repository has, or undefined. */
  readonly findBlob: (repository: string, digest: Digest) => Promise<number | undefined>;
  /** Size of a blob in whatever repository, or undefined. */
  readonly findBlobSize: (digest: Digest) => Promise<number | undefined>;
  /** Since when its bytes are stored: milliseconds since 1970. Undefined when there is no such blob. */
  readonly findBlobTime: (digest: Digest) => Promise<number | undefined>;
  /** Whether the bytes are known at all, in whatever repository. */
  readonly hasBlob: (digest: Digest) => Promise<boolean>;
  /** Idempotent; renews the time of the link. Also brings back a forgotten blob, for all repositories that had it. */
  readonly putBlob: (blob: PutBlob) => Promise<void>;
  /** False, and nothing changed, when `from` does not have the blob. */
  readonly mountBlob: (mount: MountBlob) => Promise<boolean>;
  readonly listRepositoriesWithBlob: (digest: Digest, limit: number) => Promise<readonly string[]>;
  readonly removeBlob: (repository: string, digest: Digest) => Promise<RemoveBlobResult>;
  /** Brings back a forgotten blob for all repositories that claim it; false when none does (any more). */
  readonly restoreBlob: (blob: RestoreBlob) => Promise<boolean>;
  /** The bytes are lost or corrupt. Repositories keep their claim, but see no blob until it is put again. */
  readonly forgetBlob: (digest: Digest) => Promise<void>;
};

export type UploadRecord = {
  readonly id: string;
  readonly repository: string;
  readonly subject: string;
  readonly updatedAt: number;
};

export type UploadIndex = {
  readonly putUpload: (upload: UploadRecord) => Promise<void>;
  readonly findUpload: (id: string) => Promise<UploadRecord | undefined>;
  readonly touchUpload: (id: string, at: number) => Promise<void>;
  /** Idempotent. */
  readonly removeUpload: (id: string) => Promise<void>;
  readonly countUploads: (subject: string) => Promise<number>;
  /** Ids last touched before `before`. */
  readonly listUploadsBefore: (before: number, limit: number) => Promise<readonly string[]>;
};

export type ManifestDescriptor = {
  readonly digest: Digest;
  readonly mediaType: string;
  readonly sizeBytes: number;
};
export type StoredManifest = ManifestDescriptor & { readonly body: Buffer };

/** Something that a manifest names: a blob of its repository, another manifest of it, or either. */
export type ManifestReference = {
  readonly digest: Digest;
  readonly sizeBytes: number;
  readonly kind: "blob" | "manifest";
  /** Whether the push is refused when it is absent. */
  readonly required: boolean;
};

export type PutManifest = StoredManifest & {
  readonly repository: string;
  readonly references: readonly ManifestReference[];
  readonly subject: Digest | undefined;
  readonly artifactType: string | undefined;
  /** The entry for the referrers list, as JSON; undefined when there is no subject. */
  readonly referrer: string | undefined;
  readonly tags: readonly string[];
  readonly at: number;
  readonly quota?: Quota | undefined;
};

/** What a tag pointed at before; undefined when it is new. */
export type TagMove = { readonly tag: string; readonly previous: Digest | undefined };

export type PutManifestResult =
  | { readonly kind: "stored"; readonly moves: readonly TagMove[] }
  /** Nothing was changed: required references are absent, or have another size than the manifest says. */
  | { readonly kind: "missing"; readonly digests: readonly Digest[] }
  | { readonly kind: "size-mismatch"; readonly digest: Digest; readonly storedBytes: number };

export type ReferrersQuery = Page & {
  readonly repository: string;
  readonly subject: Digest;
  readonly artifactType: string | undefined;
};

export type ManifestIndex = {
  /** `reference` is a tag or a digest; the grammar keeps them apart. */
  readonly findManifest: (
    repository: string,
    reference: string,
  ) => Promise<StoredManifest | undefined>;
  /** As `findManifest`, without reading the body. */
  readonly findManifestDescriptor: (
    repository: string,
    reference: string,
  ) => Promise<ManifestDescriptor | undefined>;
  readonly putManifest: (manifest: PutManifest) => Promise<PutManifestResult>;
  /** Removes the manifest and its tags, and gives the tags; undefined when there was no such manifest. */
  readonly removeManifest: (
    repository: string,
    digest: Digest,
  ) => Promise<readonly string[] | undefined>;
  /** Gives what the tag pointed at; undefined when there was none. */
  readonly removeTag: (repository: string, tag: string) => Promise<Digest | undefined>;
  /** Undefined when nothing was ever pushed to the repository. */
  readonly listTags: (repository: string, page: Page) => Promise<readonly string[] | undefined>;
  /** Those that were moved last come first. Empty for whatever is unknown. */
  readonly listNewestTags: (repository: string, limit: number) => Promise<readonly TagFacts[]>;
  /** Entries in the order of their digests, as JSON. Empty for whatever is unknown. */
  readonly listReferrers: (
    query: ReferrersQuery,
  ) => Promise<readonly { readonly digest: Digest; readonly referrer: string }[]>;
  readonly listRepositories: (page: Page) => Promise<readonly string[]>;
};

/** A manifest as the collector sees it. */
export type ManifestFacts = ManifestUse & {
  readonly digest: Digest;
  readonly sizeBytes: number;
  readonly subject: Digest | undefined;
  /** Blobs and children that it needs; not its subject. */
  readonly references: readonly Digest[];
  readonly pushedAt: number;
};

/** When a manifest was last of use. A pull reads it; a touch asks whether it is there, or takes a tag from it. */
export type ManifestUse = {
  readonly pulledAt: number | undefined;
  readonly touchedAt: number | undefined;
};

export type TagFacts = {
  readonly name: string;
  readonly digest: Digest;
  readonly updatedAt: number;
};

/** All of one repository at one moment. */
export type RepositoryFacts = {
  readonly manifests: readonly ManifestFacts[];
  readonly tags: readonly TagFacts[];
};

/** What shall go. A manifest that goes takes its tags with it. */
export type Removals = {
  readonly tags: readonly string[];
  readonly manifests: readonly Digest[];
};

export type CollectRequest = {
  readonly repository: string;
  /** Called inside the step, so nothing changes between what it sees and what is done. Must be pure and quick. */
  readonly plan: (facts: RepositoryFacts) => Removals;
  /** Then every blob goes from the repository that no manifest of it needs, and that was linked at this time or
   * before, unless `spares` holds it back. */
  readonly linkedUntil: number;
  readonly spares: (digest: Digest) => boolean;
  /** Only say what would happen. */
  readonly dryRun: boolean;
};

export type Collected = {
  readonly tags: readonly TagFacts[];
  readonly manifests: readonly ManifestDescriptor[];
  /** Blobs that went from the repository. When no other repository has one, its row is gone and its bytes may go. */
  readonly links: readonly {
    readonly digest: Digest;
    /** 0 for one that was lost. */
    readonly sizeBytes: number;
    /** How many other repositories have it. */
    readonly elsewhere: number;
  }[];
};

export type BlobUse = { readonly repository: string; readonly digest: Digest; readonly at: number };
export type UseRecord = {
  readonly blobs: readonly BlobUse[];
  readonly manifests: readonly (ManifestUse & {
    readonly repository: string;
    readonly digest: Digest;
  })[];
};

export type GarbageIndex = {
  readonly collect: (request: CollectRequest) => Promise<Collected>;
  /** Times only ever move forward. What does not exist (any more) is passed over. */
  readonly recordUses: (uses: UseRecord) => Promise<void>;
};

export type ScrubIndex = {
  /** Every blob whose bytes are known, in the order of digests. */
  readonly listBlobs: (page: Page) => Promise<readonly Digest[]>;
  /** Blobs that repositories claim and whose bytes are forgotten. */
  readonly listLostBlobs: (limit: number) => Promise<readonly Digest[]>;
  readonly listClaimants: (digest: Digest, limit: number) => Promise<readonly string[]>;
  /** How far a task has come that goes on after a restart; undefined is its beginning. */
  readonly findProgress: (task: string) => Promise<string | undefined>;
  readonly setProgress: (task: string, position: string | undefined) => Promise<void>;
};

export type UsageIndex = {
  /** Bytes that the repository and all below it hold; see `Quota`. */
  readonly sumBytes: (prefix: string) => Promise<number>;
};

/** What exists, under which name, and who is uploading. Drivers pass `tests/contract/metadata-store.ts`. */
export type MetadataStore = BlobIndex &
  UploadIndex &
  ManifestIndex &
  GarbageIndex &
  UsageIndex &
  ScrubIndex & {
    /** Gives back space that history takes, and sets aside what removals on a full disk need. */
    readonly compact: () => Promise<void>;
  } & { readonly close: () => void };
