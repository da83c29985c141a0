import type { Digest } from "@strata/protocol/oci/digest";

import type { RouteTable } from "../http/dispatch.ts";
import type { FindBlobElsewhere } from "../repair-blob.ts";
import { mirrorRoutes } from "./mirror-routes.ts";
import { createMirroredBlobs, type MirroredBlobs } from "./mirrored-blobs.ts";
import { createMirroredLists } from "./mirrored-lists.ts";
import { createMirroredManifests } from "./mirrored-manifests.ts";
import type { FindClient, MirrorParts } from "./parts.ts";
import { findMirror, type MirroredRepository, type MirrorRule, type SyncRule } from "./rules.ts";
import { syncMirror, type SyncReport } from "./sync.ts";
import { createUpstreamClient, type UpstreamClient } from "./upstream-client.ts";
import { createUpstreamHealth } from "./upstream-health.ts";

/** Repositories that come from other registries. */
export type Mirror = {
  /** Routes that bring what is asked for. */
  readonly wrap: (table: RouteTable) => RouteTable;
  /** For the embedder's own reads: brings what the reference names, where it can; what fails is logged. */
  readonly bringManifest: (repository: string, reference: string) => Promise<void>;
  readonly bringBlob: (repository: string, digest: Digest) => Promise<void>;
  /** A lost blob, from the upstream of a repository that claims it. */
  readonly findElsewhere: FindBlobElsewhere;
  /** Copies what a rule names. Stops soon after the signal. */
  readonly sync: (rule: MirrorRule, wanted: SyncRule, signal: AbortSignal) => Promise<SyncReport>;
  /** Ends what is under way. */
  readonly close: () => void;
};

export type MirrorOptions = MirrorParts & { readonly rules: readonly MirrorRule[] };

/** Claimants of a lost blob whose upstream is asked for it. */
const CLAIMANTS_MAX = 20;

export function createMirror(options: MirrorOptions): Mirror {
  const { rules, clock, limits } = options;
  const ending = new AbortController();
  const clients = new Map<MirrorRule, UpstreamClient>();
  const findClient: FindClient = (rule) => {
    const client = clients.get(rule) ?? createUpstreamClient({ rule, clock });
    clients.set(rule, client);
    return client;
  };
  const find = (repository: string): MirroredRepository | undefined =>
    findMirror(rules, repository);
  const health = createUpstreamHealth(clock);
  const parts = { ...options, find, findClient, health, signal: ending.signal };
  const manifests = createMirroredManifests(parts);
  const blobs = createMirroredBlobs(parts);
  const lists = createMirroredLists(parts);
  const attempt = async (
    repository: string,
    body: (place: MirroredRepository) => Promise<unknown>,
  ): Promise<void> => {
    const place = find(repository);
    if (place === undefined) return;
    try {
      await body(place);
    } catch (err) {
      options.logger.warn({ err, repository }, "not brought from the upstream");
    }
  };
  return {
    bringManifest: (repository, reference) =>
      attempt(repository, (place) => manifests.bring(place, reference)),
    bringBlob: (repository, digest) =>
      attempt(repository, async (place) => (await blobs.fetch(place, digest))?.done),
    wrap: (table) => mirrorRoutes(table, { find, manifests, blobs, lists, limits }),
    findElsewhere: (digest) => findElsewhere(options, { digest, find, blobs }),
    sync: (rule, wanted, signal) =>
      syncMirror(
        {
          ...parts,
          manifests,
          mirroredBlobs: blobs,
          signal: AbortSignal.any([signal, ending.signal]),
        },
        rule,
        wanted,
      ),
    close: () => {
      ending.abort();
      for (const client of clients.values()) client.close();
    },
  };
}

type Lost = {
  readonly digest: Digest;
  readonly find: (repository: string) => MirroredRepository | undefined;
  readonly blobs: MirroredBlobs;
};

async function findElsewhere(
  { metadata, logger }: MirrorOptions,
  { digest, find, blobs }: Lost,
): Promise<AsyncIterable<Uint8Array> | undefined> {
  for (const repository of await metadata.listClaimants(digest, CLAIMANTS_MAX)) {
    const place = find(repository);
    if (place === undefined) continue;
    try {
      const bytes = await blobs.read(place, digest);
      if (bytes !== undefined) return bytes;
    } catch (err) {
      logger.warn({ err, digest, repository }, "upstream not asked for a lost blob");
    }
  }
  return undefined;
}
