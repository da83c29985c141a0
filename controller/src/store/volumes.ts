import { and, asc, eq, gt, isNotNull, isNull, or } from "drizzle-orm";

import type { Sql } from "./database.ts";
import type { Page } from "./page.ts";
import { volumes } from "./schema-jobs.ts";
import { processes } from "./schema.ts";

export type VolumeRow = typeof volumes.$inferSelect;
type VolumeKey = Pick<VolumeRow, "tenant" | "name">;

const ofKey = ({ tenant, name }: VolumeKey): ReturnType<typeof and> =>
  and(eq(volumes.tenant, tenant), eq(volumes.name, name));

export function getVolume(sql: Sql, key: VolumeKey): VolumeRow | undefined {
  return sql.select().from(volumes).where(ofKey(key)).get();
}

export function listVolumesOfTenant(
  sql: Sql,
  tenant: string,
  { after, limit }: Page,
): readonly VolumeRow[] {
  return sql
    .select()
    .from(volumes)
    .where(and(eq(volumes.tenant, tenant), gt(volumes.name, after)))
    .orderBy(asc(volumes.name))
    .limit(limit)
    .all();
}

export function listVolumes(sql: Sql): readonly VolumeRow[] {
  return sql.select().from(volumes).orderBy(asc(volumes.tenant), asc(volumes.name)).all();
}

/** With the state of the process that may write, where there is one. */
export function listHeldVolumes(sql: Sql): readonly {
  readonly volume: VolumeRow;
  readonly state: typeof processes.$inferSelect.state | null;
}[] {
  return sql
    .select({ volume: volumes, state: processes.state })
    .from(volumes)
    .leftJoin(processes, eq(processes.id, volumes.holder))
    .all();
}

/** Those that shall be deleted and are on a node. */
export function listLeavingVolumes(sql: Sql): readonly VolumeRow[] {
  return sql
    .select()
    .from(volumes)
    .where(and(isNotNull(volumes.nodeId), isNotNull(volumes.deletedAt)))
    .orderBy(asc(volumes.tenant), asc(volumes.name))
    .all();
}

/** Those without a node that had one, or shall be deleted. */
export function listHomeless(sql: Sql): readonly VolumeRow[] {
  return sql
    .select()
    .from(volumes)
    .where(and(isNull(volumes.nodeId), or(isNotNull(volumes.deletedAt), isNotNull(volumes.holder))))
    .all();
}

export function saveVolume(sql: Sql, row: VolumeRow): void {
  sql
    .insert(volumes)
    .values(row)
    .onConflictDoUpdate({ target: [volumes.tenant, volumes.name], set: row })
    .run();
}

export function deleteVolume(sql: Sql, key: VolumeKey): void {
  sql.delete(volumes).where(ofKey(key)).run();
}
