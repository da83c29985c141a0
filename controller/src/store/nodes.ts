import { and, asc, count, eq, gt, like, sql as raw } from "drizzle-orm";

import type { Sql } from "./database.ts";
import { keepStatements, placeholdersOf, updateKey } from "./kept-statements.ts";
import { getPartition } from "./partitions.ts";
import { nodes, partitions } from "./schema.ts";

export type NodeRow = typeof nodes.$inferSelect;

const getStatement = keepStatements((sql) =>
  sql
    .select()
    .from(nodes)
    .where(eq(nodes.id, raw.placeholder("id")))
    .prepare(),
);

export function getNode(sql: Sql, id: string): NodeRow | undefined {
  const kept = sql.kept?.read();
  return kept === undefined ? getStatement(sql).get({ id }) : kept.nodes.get(id);
}

export function getNodeByName(sql: Sql, name: string): NodeRow | undefined {
  return sql.select().from(nodes).where(eq(nodes.name, name)).get();
}

export function getNodeOfMachine(
  sql: Sql,
  { machineId, partition }: { readonly machineId: string; readonly partition: string },
): readonly NodeRow[] {
  return sql
    .select()
    .from(nodes)
    .where(and(eq(nodes.machineId, machineId), eq(nodes.partition, partition)))
    .all();
}

/** By name. */
export function listNodes(sql: Sql): readonly NodeRow[] {
  const kept = sql.kept?.read();
  if (kept !== undefined) return kept.nodes.all();
  return sql.select().from(nodes).orderBy(asc(nodes.name)).all();
}

const ingressStatement = keepStatements((sql) =>
  sql
    .select({ id: nodes.id })
    .from(nodes)
    .innerJoin(partitions, eq(partitions.name, nodes.partition))
    .where(like(raw`coalesce(${nodes.roles}, ${partitions.roles})`, '%"ingress"%'))
    .limit(1)
    .prepare(),
);

/** Whether any node lets requests in. */
export function hasIngress(sql: Sql): boolean {
  return ingressStatement(sql).get() !== undefined;
}

/** Whether this node lets requests in: by its own roles, or by those of its partition. */
export function isIngressNode(sql: Sql, id: string): boolean {
  const node = getNode(sql, id);
  if (node === undefined) return false;
  const roles = node.roles ?? getPartition(sql, node.partition)?.roles ?? [];
  return roles.includes("ingress");
}

export function listNodesPage(
  sql: Sql,
  {
    after,
    limit,
    partition,
  }: { readonly after: string; readonly limit: number; readonly partition: string | undefined },
): readonly NodeRow[] {
  const kept = sql.kept?.read();
  if (kept !== undefined)
    return kept.nodes
      .all()
      .filter((node) => node.name > after && (partition ?? node.partition) === node.partition)
      .slice(0, limit);
  return sql
    .select()
    .from(nodes)
    .where(
      and(
        gt(nodes.name, after),
        partition === undefined ? undefined : eq(nodes.partition, partition),
      ),
    )
    .orderBy(asc(nodes.name))
    .limit(limit)
    .all();
}

export function listNodesOfPartition(sql: Sql, partition: string): readonly NodeRow[] {
  return sql
    .select()
    .from(nodes)
    .where(eq(nodes.partition, partition))
    .orderBy(asc(nodes.name))
    .all();
}

const capacitiesStatement = keepStatements((sql) =>
  sql
    .select({ name: raw<string>`min(${nodes.name})`, capacity: nodes.capacity })
    .from(nodes)
    .where(eq(nodes.partition, raw.placeholder("partition")))
    .groupBy(nodes.capacity)
    .prepare(),
);

/** What nodes of the partition have, each once, with the name of one that has it. */
export function listCapacities(
  sql: Sql,
  partition: string,
): readonly Pick<NodeRow, "name" | "capacity">[] {
  return capacitiesStatement(sql).all({ partition });
}

const countStatement = keepStatements((sql) => sql.select({ n: count() }).from(nodes).prepare());

export function countNodes(sql: Sql): number {
  return sql.kept?.read()?.nodes.size() ?? countStatement(sql).get()?.n ?? 0;
}

export function insertNode(sql: Sql, row: NodeRow): void {
  sql.insert(nodes).values(row).run();
}

/** By the names of the columns, as `updateKey` writes them. */
const updateStatement = keepStatements((sql, key) =>
  sql
    .update(nodes)
    .set(placeholdersOf(key))
    .where(eq(nodes.id, raw.placeholder("itsId")))
    .prepare(),
);

export function updateNode(sql: Sql, id: string, change: Partial<NodeRow>): void {
  updateStatement(sql, updateKey(change)).run({ ...change, itsId: id });
}

export function deleteNode(sql: Sql, id: string): void {
  sql.delete(nodes).where(eq(nodes.id, id)).run();
}

const bumpStatement = keepStatements((sql) =>
  sql
    .update(nodes)
    .set({ assignmentRevision: raw`${nodes.assignmentRevision} + 1` })
    .where(eq(nodes.id, raw.placeholder("id")))
    .returning({ revision: nodes.assignmentRevision })
    .prepare(),
);

/** Returns the new revision. */
export function bumpAssignmentRevision(sql: Sql, id: string): number {
  return bumpStatement(sql).get({ id })?.revision ?? 0;
}
