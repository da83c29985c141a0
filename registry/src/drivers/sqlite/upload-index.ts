import { count, eq, lt } from "drizzle-orm";

import type { UploadIndex } from "../../metadata-store.ts";
import type { RegistryDatabase } from "./database.ts";
import type { Reserve } from "./reserve.ts";
import { uploads } from "./schema.ts";

export function createUploadIndex(database: RegistryDatabase, reserve: Reserve): UploadIndex {
  return {
    putUpload: async (upload) => {
      database.insert(uploads).values(upload).run();
    },
    findUpload: async (id) => database.select().from(uploads).where(eq(uploads.id, id)).get(),
    touchUpload: async (id, at) => {
      database.update(uploads).set({ updatedAt: at }).where(eq(uploads.id, id)).run();
    },
    removeUpload: async (id) => {
      reserve.spendOn(() => database.delete(uploads).where(eq(uploads.id, id)).run());
    },
    countUploads: async (subject) =>
      database.select({ count: count() }).from(uploads).where(eq(uploads.subject, subject)).get()
        ?.count ?? 0,
    listUploadsBefore: async (before, limit) =>
      database
        .select({ id: uploads.id })
        .from(uploads)
        .where(lt(uploads.updatedAt, before))
        .limit(limit)
        .all()
        .map((row) => row.id),
  };
}
