import type { Digest } from "@strata/protocol/oci/digest";

/** An open blob. It stays readable until disposed, also when the blob is deleted or replaced meanwhile. */
export type OpenBlob = AsyncDisposable & {
  readonly sizeBytes: number;
  /** Fills `target` from `position`. Gives the bytes read: fewer than asked for at the end, 0 behind it. */
  readonly read: (target: Uint8Array, position: number) => Promise<number>;
  /** Where the bytes are, at the same positions, when a file of this machine holds them. */
  readonly file?: LocalFile;
};

export type LocalFile = {
  /** Valid until the blob is disposed. */
  readonly descriptor: number;
  /** Another one after any write to the file, unless it falls into the same tick of the kernel's clock. */
  readonly version: string;
  /** When the file, its name or its rights last changed: milliseconds since 1970. */
  readonly changedAt: number;
};

/** An upload being written. One writer at a time: the caller sees to that. */
export type OpenUpload = OpenBlob & {
  /** Appends all the chunks, or throws; then some of them may have been written and `sizeBytes` says how much.
   * Not durable before `commitUpload`. @throws the system's ENOSPC, EDQUOT when the disk is full. */
  readonly append: (chunks: readonly Uint8Array[]) => Promise<void>;
  /** Drops everything from `sizeBytes` on. */
  readonly truncate: (sizeBytes: number) => Promise<void>;
};

export type BlobReader = {
  /** Undefined when there is no such blob. Never checks the digest. */
  readonly open: (digest: Digest) => Promise<OpenBlob | undefined>;
};

/** Uploads are byte strings under an id of the caller's, `[A-Za-z0-9-]+`. They survive a restart. */
export type BlobWriter = {
  /** Makes an empty upload. @throws EEXIST */
  readonly createUpload: (id: string) => Promise<void>;
  /** Undefined when there is no such upload. */
  readonly openUpload: (id: string) => Promise<OpenUpload | undefined>;
  /** Turns the upload into the blob, replacing what is there, and returns when it is safe against power loss.
   * The caller has verified the digest. False when there is no such upload. */
  readonly commitUpload: (id: string, digest: Digest) => Promise<boolean>;
  /** Idempotent. */
  readonly deleteUpload: (id: string) => Promise<void>;
};

export type BlobCollector = {
  /** Idempotent. Those who have the blob open can read on. */
  readonly delete: (digest: Digest) => Promise<void>;
  /** Takes a corrupt blob out of the way, kept for inspection. Idempotent. */
  readonly quarantine: (digest: Digest) => Promise<void>;
  /** Every blob once, in no order. What comes or goes meanwhile may be missing. */
  readonly listBlobs: () => AsyncIterable<Digest>;
  readonly listUploads: () => Promise<readonly string[]>;
};

/** Content-addressed bytes. Holds no names, no rights and no metadata. Drivers pass `tests/contract/blob-store.ts`. */
export type BlobStore = BlobReader &
  BlobWriter &
  BlobCollector & {
    /** Lets go of what the driver keeps open of its own, when there is anything. */
    readonly close?: () => void;
  };
