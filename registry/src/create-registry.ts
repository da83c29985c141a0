import { RESPONSE_ALREADY_SENT } from "@hono/node-server/utils/response";
import { type Digest, isDigest } from "@strata/protocol/oci/digest";
import { isRepository, isTag } from "@strata/protocol/oci/reference";
import { Hono } from "hono";

import type { Authorize } from "./authorize.ts";
import type { BlobStore } from "./blob-store.ts";
import { createBufferPool } from "./buffer-pool.ts";
import {
  type CollectGarbage,
  createGarbageCollector,
  type GarbageReport,
} from "./collect-garbage.ts";
import { dispatch, type RouteTable } from "./http/dispatch.ts";
import type { RegistryEnv } from "./http/env.ts";
import { answerError, toRegistryError } from "./http/errors.ts";
import { defaultLimits, type RegistryLimits } from "./limits.ts";
import type { RegistryLogger } from "./logger.ts";
import { cacheManifests } from "./manifest-cache.ts";
import type { ManifestIndex, MetadataStore, StoredManifest } from "./metadata-store.ts";
import { createMirror, type Mirror } from "./mirror/mirror.ts";
import type { MirrorRule } from "./mirror/rules.ts";
import type { FindQuota } from "./quota.ts";
import { createRecentUses } from "./recent-uses.ts";
import { createRepair, type FindBlobElsewhere } from "./repair-blob.ts";
import { createBaseRoutes } from "./routes/base.ts";
import { createBlobRoutes } from "./routes/blobs.ts";
import { createCatalogRoutes } from "./routes/catalog.ts";
import { createManifestRoutes, type TagMoved } from "./routes/manifests.ts";
import { createReferrersRoutes } from "./routes/referrers.ts";
import { createTagRoutes } from "./routes/tags.ts";
import { createUploadRoutes, createUploadsRoutes } from "./routes/uploads.ts";
import { createScrubber, type Scrub, type ScrubReport } from "./scrub.ts";
import type { ListReferrers } from "./signature/read-image-signatures.ts";
import { type CorruptBlob, createStoredBlobs } from "./stored-blobs.ts";
import { createUploads } from "./uploads.ts";

export type RegistryOptions = {
  readonly blobs: BlobStore;
  readonly metadata: MetadataStore;
  readonly authorize: Authorize;
  /** Serves `/v2/token` when access tokens are part of the log-in; see `createTokenEndpoint` [none]. */
  readonly tokenEndpoint?: Hono;
  /** Milliseconds since 1970. */
  readonly clock: () => number;
  /** Unguessable ids of letters, digits and hyphens, for uploads. */
  readonly newId: () => string;
  readonly logger: RegistryLogger;
  /** Only what differs from `defaultLimits`. */
  readonly limits?: Partial<RegistryLimits>;
  /** Called after the move is durable, before the push is answered. Must not throw. */
  readonly onTagMoved?: (move: TagMoved) => void;
  /** What each repository and its neighbours may hold [no limit]. A push over it gets 403 with the numbers. */
  readonly quota?: FindQuota;
  /** Called when a blob was found lost or altered and was taken out of service. Must not throw. */
  readonly onCorrupt?: (corrupt: CorruptBlob) => void;
  /** Where a lost blob may be had from, besides upstreams; asked by `scrub`. */
  readonly repair?: FindBlobElsewhere;
  /** Repositories that come from other registries [none]. */
  readonly mirrors?: readonly MirrorRule[];
  /** Accept manifests whose blobs or children were not pushed [false]. */
  readonly sparse?: boolean;
  /** Hash whole blobs on their way out, and never complete a corrupt one [true]. */
  readonly verifyReads?: boolean;
};

/** An OCI registry. It owns the paths `/v2` and `/v2/*`, and needs @hono/node-server's bindings with
 * `requestTimeout: 0`; it has deadlines of its own. */
export type Registry = {
  readonly app: Hono<RegistryEnv>;
  /** The manifest that a tag or digest names, or undefined. Asks no one for permission; brings what is mirrored. */
  readonly resolve: (repository: string, reference: string) => Promise<StoredManifest | undefined>;
  /** Reads a small blob whole, such as an image's config; undefined when absent or longer than `sizeBytesMax`. */
  readonly readBlob: (request: ReadBlob) => Promise<Buffer | undefined>;
  /** The manifests of a type that refer to a manifest; the first 64 by digest. Asks no one for permission. */
  readonly listReferrers: (request: ListReferrers) => Promise<readonly Digest[]>;
  /** Tags of a repository of this store, those that were moved last first. Asks no one for permission. */
  readonly listNewestTags: ManifestIndex["listNewestTags"];
  /** Hashes stored blobs at a slow pace, quarantines damaged ones, and repairs those that are lost. One at a time. */
  readonly scrub: (request?: Scrub) => Promise<ScrubReport>;
  /** Bytes held by the repository of this name and all below it; by all for the empty prefix. */
  readonly sumBytes: (prefix: string) => Promise<number>;
  /** Copies what a rule of `mirrors` names from its upstream. One whole image after the other. */
  readonly sync: Mirror["sync"];
  /** Removes what nothing needs, while clients go on. See `CollectGarbage` for what stays. */
  readonly collectGarbage: (request?: CollectGarbage) => Promise<GarbageReport>;
  /** Forgets stale uploads and files that a crash left, and writes down times of use. To be called at start, and then every few minutes. */
  readonly sweepUploads: () => Promise<number>;
  /** Removes blob files that a crash left without a row. To be called at start. */
  readonly sweepBlobs: () => Promise<number>;
  /** Closes metadata and blobs. Requests must have ended. */
  readonly close: () => void;
};

const REFERRERS_MAX = 64;

export type ReadBlob = {
  readonly repository: string;
  readonly digest: string;
  readonly sizeBytesMax: number;
};

export function createRegistry(options: RegistryOptions): Registry {
  const { blobs, logger } = options;
  const metadata = cacheManifests(options.metadata);
  const limits: RegistryLimits = { ...defaultLimits, ...options.limits };
  const buffers = createBufferPool();
  const onCorrupt = options.onCorrupt ?? ((): void => undefined);
  const storedBlobs = createStoredBlobs({ blobs, metadata, buffers, logger, onCorrupt });
  const onTagMoved = options.onTagMoved ?? ((): void => undefined);
  const uses = createRecentUses({
    metadata,
    clock: options.clock,
    onError: (err) => logger.warn({ err }, "times of use wait to be written"),
  });
  const quota = options.quota ?? ((): undefined => undefined);
  const parts = { ...options, metadata, limits, buffers, storedBlobs, uses, onTagMoved, quota };
  const uploads = createUploads(parts);
  const table = createRouteTable({
    ...parts,
    uploads,
    sparse: options.sparse ?? false,
    verifyReads: options.verifyReads ?? true,
  });
  const rules = options.mirrors ?? [];
  const mirror = createMirror({ ...parts, rules, hold: uploads.hold });
  const repair = createRepair({
    ...parts,
    findElsewhere: async (digest) =>
      (await options.repair?.(digest)) ?? (await mirror.findElsewhere(digest)),
    blobSizeBytesMax: limits.blobSizeBytesMax,
    hold: uploads.hold,
  });
  const routes = rules.length === 0 ? table : mirror.wrap(table);
  const app = createApp(options, routes);
  return {
    app,
    resolve: async (repository, reference) => {
      if (!isRepository(repository) || !(isDigest(reference) || isTag(reference))) return undefined;
      await mirror.bringManifest(repository, reference);
      return metadata.findManifest(repository, reference);
    },
    readBlob: async (request) => {
      const { repository, digest } = request;
      if (isDigest(digest)) await mirror.bringBlob(repository, digest);
      return readBlob(options, request);
    },
    listReferrers: (request) => listReferrers(metadata, request),
    listNewestTags: metadata.listNewestTags,
    sumBytes: metadata.sumBytes,
    collectGarbage: createGarbageCollector(parts),
    scrub: createScrubber({ ...parts, repair }),
    sweepUploads: async () => {
      await uses.flush();
      return uploads.sweep();
    },
    sweepBlobs: () => storedBlobs.sweep(),
    sync: mirror.sync,
    close: () => {
      mirror.close();
      metadata.close();
      blobs.close?.();
    },
  };
}

/** All that Hono may hand on, so that a wrong one gets the registry's own 405. HEAD comes with GET. */
const methods = ["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"];

function createApp(
  { authorize, tokenEndpoint, logger }: RegistryOptions,
  routes: RouteTable,
): Registry["app"] {
  const app = new Hono<RegistryEnv>();
  if (tokenEndpoint !== undefined) app.route("/", tokenEndpoint);
  app.on(methods, ["/v2", "/v2/*"], async (context) => {
    try {
      return await dispatch(context, routes, authorize);
    } catch (error) {
      const { outgoing } = context.env;
      if (!outgoing.headersSent) return answerError(toRegistryError(error, logger));
      // In the middle of a body there is one way left to say that it is not whole.
      logger.warn({ err: error }, "answer cut off");
      outgoing.destroy();
      return RESPONSE_ALREADY_SENT;
    }
  });
  return app;
}

type TableOptions = Parameters<typeof createUploadRoutes>[0] &
  Parameters<typeof createBlobRoutes>[0] &
  Parameters<typeof createManifestRoutes>[0];

function createRouteTable(options: TableOptions): RouteTable {
  return {
    base: createBaseRoutes(),
    catalog: createCatalogRoutes(options),
    tags: createTagRoutes(options),
    manifest: createManifestRoutes(options),
    referrers: createReferrersRoutes(options),
    uploads: createUploadsRoutes(options),
    upload: createUploadRoutes(options),
    blob: createBlobRoutes(options),
  };
}

async function readBlob(
  { blobs, metadata }: RegistryOptions,
  { repository, digest, sizeBytesMax }: ReadBlob,
): Promise<Buffer | undefined> {
  if (!isDigest(digest)) return undefined;
  const sizeBytes = await metadata.findBlob(repository, digest);
  if (sizeBytes === undefined || sizeBytes > sizeBytesMax) return undefined;
  await using blob = await blobs.open(digest);
  if (blob === undefined) return undefined;
  const bytes = Buffer.alloc(sizeBytes);
  return (await blob.read(bytes, 0)) === sizeBytes ? bytes : undefined;
}

async function listReferrers(
  metadata: Pick<MetadataStore, "listReferrers">,
  request: ListReferrers,
): Promise<readonly Digest[]> {
  const page = { last: undefined, limit: REFERRERS_MAX };
  const found = await metadata.listReferrers({ ...request, ...page });
  return found.map(({ digest }) => digest);
}
