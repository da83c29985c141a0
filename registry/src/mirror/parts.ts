import type { BlobStore } from "../blob-store.ts";
import type { BufferPool } from "../buffer-pool.ts";
import type { RegistryLimits } from "../limits.ts";
import type { RegistryLogger } from "../logger.ts";
import type { MetadataStore } from "../metadata-store.ts";
import type { FindQuota } from "../quota.ts";
import type { TagMoved } from "../routes/manifests.ts";
import type { StoredBlobs } from "../stored-blobs.ts";
import type { MirrorRule } from "./rules.ts";
import type { UpstreamClient } from "./upstream-client.ts";

/** What of the registry the mirror works with. */
export type MirrorParts = {
  readonly blobs: BlobStore;
  readonly metadata: MetadataStore;
  readonly storedBlobs: StoredBlobs;
  readonly buffers: BufferPool;
  readonly limits: RegistryLimits;
  readonly logger: RegistryLogger;
  readonly quota: FindQuota;
  readonly clock: () => number;
  readonly newId: () => string;
  readonly onTagMoved: (move: TagMoved) => void;
  /** Keeps a file of this id from the sweep of uploads while the body runs. */
  readonly hold: <Result>(id: string, body: () => Promise<Result>) => Promise<Result>;
};

/** One client for each upstream. */
export type FindClient = (rule: MirrorRule) => UpstreamClient;
