import { asc, eq, gt, isNull, sql } from "drizzle-orm";

import type { ScrubIndex } from "../../metadata-store.ts";
import type { RegistryDatabase } from "./database.ts";
import { blobs, progress, repositoryBlobs } from "./schema.ts";

export function createScrubIndex(database: RegistryDatabase): ScrubIndex {
  return {
    listBlobs: async ({ last, limit }) =>
      database
        .select({ digest: blobs.digest })
        .from(blobs)
        .where(last === undefined ? undefined : gt(sql<string>`${blobs.digest}`, last))
        .orderBy(asc(blobs.digest))
        .limit(limit)
        .all()
        .map((row) => row.digest),
    listLostBlobs: async (limit) =>
      database
        .selectDistinct({ digest: repositoryBlobs.digest })
        .from(repositoryBlobs)
        .leftJoin(blobs, eq(blobs.digest, repositoryBlobs.digest))
        .where(isNull(blobs.digest))
        .limit(limit)
        .all()
        .map((row) => row.digest),
    listClaimants: async (digest, limit) =>
      database
        .select({ repository: repositoryBlobs.repository })
        .from(repositoryBlobs)
        .where(eq(repositoryBlobs.digest, digest))
        .orderBy(asc(repositoryBlobs.repository))
        .limit(limit)
        .all()
        .map((row) => row.repository),
    findProgress: async (task) =>
      database.select().from(progress).where(eq(progress.task, task)).get()?.position,
    setProgress: async (task, position) => {
      if (position === undefined) database.delete(progress).where(eq(progress.task, task)).run();
      else {
        database
          .insert(progress)
          .values({ task, position })
          .onConflictDoUpdate({ target: progress.task, set: { position } })
          .run();
      }
    },
  };
}
