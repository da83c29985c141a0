/** The upkeep of the store of images: garbage collection by the retention policies, the slow re-hash of what is stored,
 * and the words about both. */
import type { CollectionReport, ScrubReport, StoreStatus } from "@strata/protocol/api/store-rules";
import { type Digest, isDigest } from "@strata/protocol/oci/digest";
import type { Registry } from "@strata/registry/create-registry";
import type { FindQuota } from "@strata/registry/quota";
import type { RetentionPolicy } from "@strata/registry/retention";
import type { Logger } from "pino";

import { listCartridges } from "../store/cartridges.ts";
import type { Sql } from "../store/database.ts";
import {
  getStoreQuota,
  listRetentionPolicies,
  listStoreQuotas,
  type RetentionPolicyRow,
} from "../store/store-rules.ts";
import { listKeptImages } from "../store/subscriptions.ts";
import type { Store } from "../store/unit.ts";

/** What of the registry is looked after. */
export type KeptRegistry = Pick<Registry, "collectGarbage" | "scrub" | "sumBytes">;

export type StoreKeeper = {
  /** Removes what nothing needs while clients go on. What runs or is wished for stays. */
  readonly collect: (request: Collect) => Promise<CollectionReport>;
  /** Hashes blobs for up to `durationMs`, from where the last one stopped. */
  readonly scrub: (request: Scrub) => Promise<ScrubReport>;
  readonly status: () => Promise<StoreStatus>;
  /** Bytes of the repository of this name and all below it. */
  readonly usedBytes: (prefix: string) => Promise<number>;
};

export type Collect = {
  readonly dryRun: boolean;
  readonly graceMs: number;
  readonly signal?: AbortSignal;
};
export type Scrub = {
  readonly durationMs: number;
  readonly bytesPerSecondMax: number;
  readonly signal?: AbortSignal;
};

export type StoreKeeperOptions = {
  readonly store: Store;
  readonly registry: KeptRegistry;
  /** Throws before a restored state is confirmed: what it does not know may be of use. */
  readonly requireConfirmed: () => void;
  readonly nowMs: () => number;
};

const NO_LIMIT = { after: "", limit: 1_000_000 };

export function createStoreKeeper({
  store,
  registry,
  requireConfirmed,
  nowMs,
}: StoreKeeperOptions): StoreKeeper {
  let lastCollection: StoreStatus["lastCollection"] = null;
  let lastScrub: StoreStatus["lastScrub"] = null;
  const at = (): string => new Date(nowMs()).toISOString();
  return {
    collect: async (request) => {
      if (!request.dryRun) requireConfirmed();
      const policies = listRetentionPolicies(store.sql, NO_LIMIT).map(toPolicy);
      const {
        links: _links,
        aborted: _aborted,
        removed,
        ...counts
      } = await registry.collectGarbage({
        ...request,
        policies,
        keep: (repository) => digestsInUse(store.sql, repository),
      });
      const summary = { at: at(), ...counts };
      lastCollection = summary;
      if (!summary.dryRun && summary.tags + summary.manifests + summary.blobs > 0)
        announceCollection(store, summary);
      return { ...summary, removed: [...removed] };
    },
    scrub: async ({ durationMs, ...request }) => {
      const report = await registry.scrub({ ...request, durationMsMax: durationMs });
      const { blobs, bytes, complete } = report;
      const [corrupt, repaired, lost] = [
        [...report.corrupt],
        [...report.repaired],
        [...report.lost],
      ];
      lastScrub = { at: at(), blobs, bytes, complete, corrupt, repaired, lost };
      for (const digest of repaired) announceRepair(store, digest);
      return lastScrub;
    },
    usedBytes: (prefix) => registry.sumBytes(prefix),
    status: async () => ({
      bytes: await registry.sumBytes(""),
      quotas: await Promise.all(
        listStoreQuotas(store.sql, NO_LIMIT).map(async ({ name, bytes }) => ({
          name,
          bytes,
          usedBytes: await registry.sumBytes(name),
        })),
      ),
      lastCollection,
      lastScrub,
    }),
  };
}

/** The quota of a repository is that of its first part: `acme/web` is under `acme`. */
export function createFindQuota(sql: Sql): FindQuota {
  return (repository) => {
    const [prefix = ""] = repository.split("/");
    const quota = getStoreQuota(sql, prefix);
    return quota === undefined ? undefined : { prefix, bytesMax: quota.bytes };
  };
}

/** To be called when a blob was found lost or altered. Never throws. */
export function announceCorruption(
  { store, logger }: { readonly store: Store; readonly logger: Logger },
  { digest }: { readonly digest: string },
): void {
  try {
    store.write((unit) => {
      unit.emit({
        type: "store.blob-corrupt",
        subject: digest,
        message: `blob ${digest} is not what it was and is out of service: push it again, or let a scrub repair it`,
      });
    });
  } catch (err) {
    logger.error({ err, digest }, "a corrupt blob could not be announced");
  }
}

/** Images of processes, of what is wished for and of what a roll-back may need, the cartridges' own included. */
function digestsInUse(sql: Sql, repository: string): ReadonlySet<Digest> {
  const images = [...listKeptImages(sql), ...listCartridges(sql, NO_LIMIT)];
  return new Set(
    images
      .filter((image) => image.repository === repository)
      .map(({ digest }) => digest)
      .filter(isDigest),
  );
}

function toPolicy(row: RetentionPolicyRow): RetentionPolicy {
  const { repositories, keepLast, keepTags, keepPulledWithinMs, keepUntagged } = row;
  return {
    repositories,
    keepUntagged,
    ...(keepLast === null ? {} : { keepLast }),
    ...(keepTags === null ? {} : { keepTags }),
    ...(keepPulledWithinMs === null ? {} : { keepPulledWithinMs }),
  };
}

function announceCollection(
  store: Store,
  { tags, manifests, blobs, bytes }: Omit<CollectionReport, "removed">,
): void {
  store.write((unit) => {
    unit.emit({
      type: "store.collected",
      subject: "store",
      message: `the store let go of ${tags} tags, ${manifests} manifests and ${blobs} blobs: ${bytes} bytes`,
      data: { tags, manifests, blobs, bytes },
    });
  });
}

function announceRepair(store: Store, digest: string): void {
  store.write((unit) => {
    unit.emit({
      type: "store.blob-repaired",
      subject: digest,
      message: `blob ${digest} is whole again`,
    });
  });
}
