import { and, eq, gte, lt, or, type SQL, sql } from "drizzle-orm";

import type { UsageIndex } from "../../metadata-store.ts";
import { type Quota, quotaError } from "../../quota.ts";
import type { RegistryDatabase, Transaction } from "./database.ts";
import { blobs, manifests, repositoryBlobs } from "./schema.ts";

export function createUsageIndex(database: RegistryDatabase): UsageIndex {
  return {
    sumBytes: async (prefix) =>
      database.transaction((transaction) => sumBytes(transaction, prefix)),
  };
}

/** Runs what may make a tenant larger; takes it back when that exceeds the quota. What adds nothing always passes,
 * also after the quota was lowered. @throws RegistryError DENIED */
export function withinQuota<Result>(
  transaction: Transaction,
  quota: Quota | undefined,
  body: () => Result,
): Result {
  if (quota === undefined) return body();
  const usedBytes = sumBytes(transaction, quota.prefix);
  const result = body();
  const afterBytes = sumBytes(transaction, quota.prefix);
  // The error leaves the transaction, which rolls it back.
  if (afterBytes > Math.max(usedBytes, quota.bytesMax)) {
    throw quotaError(quota, { usedBytes, wantedBytes: afterBytes - usedBytes });
  }
  return result;
}

function sumBytes(transaction: Transaction, prefix: string): number {
  const distinct = transaction
    .selectDistinct({ digest: blobs.digest, sizeBytes: blobs.sizeBytes })
    .from(repositoryBlobs)
    .innerJoin(blobs, eq(blobs.digest, repositoryBlobs.digest))
    .where(isBelow(repositoryBlobs.repository, prefix))
    .as("held");
  const ofBlobs = transaction
    .select({ sum: sql<number>`coalesce(sum(${distinct.sizeBytes}), 0)` })
    .from(distinct)
    .get();
  const ofManifests = transaction
    .select({ sum: sql<number>`coalesce(sum(${manifests.sizeBytes}), 0)` })
    .from(manifests)
    .where(isBelow(manifests.repository, prefix))
    .get();
  return (ofBlobs?.sum ?? 0) + (ofManifests?.sum ?? 0);
}

type Column = typeof manifests.repository | typeof repositoryBlobs.repository;

/** By comparison, so that the index serves it. The character after `/` is `0`. */
function isBelow(column: Column, prefix: string): SQL | undefined {
  if (prefix === "") return undefined;
  return or(eq(column, prefix), and(gte(column, `${prefix}/`), lt(column, `${prefix}0`)));
}
