import { Limits } from "@strata/protocol/agent/messages";
import { and, asc, count, eq, gt, inArray, isNotNull, type SQL, sql as raw } from "drizzle-orm";

import type { Sql } from "./database.ts";
import { keepStatements } from "./kept-statements.ts";
import type { ProcessRow } from "./process-table.ts";
import { generations, processes, subscriptions } from "./schema.ts";
import type { Unit } from "./unit.ts";

export type { ProcessRow };
export type GenerationRow = typeof generations.$inferSelect;

/** Each subscription's in the order in which they were made; without those that have none. */
export function listProcessesBySubscription(sql: Sql): ReadonlyMap<string, readonly ProcessRow[]> {
  const rows = sql.processTable?.read();
  if (rows !== undefined) return rows.bySubscription();
  return Map.groupBy(
    sql.select().from(processes).orderBy(asc(processes.createdAt), asc(processes.id)).all(),
    ({ subscriptionId }) => subscriptionId,
  );
}

export function listProcessesOfNode(sql: Sql, nodeId: string): readonly ProcessRow[] {
  const rows = sql.processTable?.read();
  if (rows !== undefined) return rows.ofNode(nodeId);
  return sql
    .select()
    .from(processes)
    .where(eq(processes.nodeId, nodeId))
    .orderBy(asc(processes.createdAt), asc(processes.id))
    .all();
}

export function listProcessesOfSubscription(
  sql: Sql,
  subscriptionId: string,
): readonly ProcessRow[] {
  const rows = sql.processTable?.read();
  if (rows !== undefined) return rows.ofSubscription(subscriptionId);
  return sql
    .select()
    .from(processes)
    .where(eq(processes.subscriptionId, subscriptionId))
    .orderBy(asc(processes.createdAt), asc(processes.id))
    .all();
}

export type ProcessFilter = {
  readonly tenant: string | undefined;
  readonly subscription?: string | undefined;
  readonly nodeId?: string | undefined;
};

/** Processes with what they run, by id, from the one after `after`. */
export function listProcessViews(
  sql: Sql,
  {
    filter,
    after,
    limit,
  }: { readonly filter: ProcessFilter; readonly after: string; readonly limit: number },
): readonly ProcessView[] {
  const where = and(
    gt(processes.id, after),
    filter.tenant === undefined ? undefined : eq(subscriptions.tenant, filter.tenant),
    filter.subscription === undefined ? undefined : eq(subscriptions.alias, filter.subscription),
    filter.nodeId === undefined ? undefined : eq(processes.nodeId, filter.nodeId),
  );
  return readViews(sql, where, limit);
}

export type ProcessView = {
  readonly process: ProcessRow;
  readonly spec: GenerationRow["spec"];
};

export function getProcessView(sql: Sql, id: string): ProcessView | undefined {
  const rows = sql.processTable?.read();
  const process = rows?.all.get(id);
  if (rows !== undefined) return process && { process, spec: rows.specOf(process) };
  return readViews(sql, eq(processes.id, id), 1)[0];
}

/** Every process that the node shall know of, with what it runs. */
export function listAssigned(sql: Sql, nodeId: string): readonly ProcessView[] {
  return listViewsOfNode(sql, nodeId).filter(({ process }) => process.assignmentId !== null);
}

/** All that is meant for the node, with what it runs. */
export function listViewsOfNode(sql: Sql, nodeId: string): readonly ProcessView[] {
  const rows = sql.processTable?.read();
  return rows === undefined
    ? readViews(sql, eq(processes.nodeId, nodeId), NO_LIMIT)
    : rows.ofNode(nodeId).map((process) => ({ process, spec: rows.specOf(process) }));
}

export function countProcessesByState(sql: Sql): ReadonlyMap<ProcessRow["state"], number> {
  const rows = sql
    .select({ state: processes.state, n: count() })
    .from(processes)
    .groupBy(processes.state)
    .all();
  return new Map(rows.map(({ state, n }) => [state, n]));
}

/** Specs of the generations that have processes, for the scheduler. */
export function listGenerationsInUse(
  sql: Sql,
): readonly Pick<GenerationRow, "subscriptionId" | "generation" | "spec">[] {
  const rows = sql.processTable?.read();
  if (rows !== undefined) {
    return [...rows.bySubscription()].flatMap(([subscriptionId, some]) =>
      [...new Set(some.map(({ generation }) => generation))].map((generation) => {
        const key = { subscriptionId, generation };
        return { ...key, spec: rows.specOf(key) };
      }),
    );
  }
  return sql
    .selectDistinct({
      subscriptionId: generations.subscriptionId,
      generation: generations.generation,
      spec: generations.spec,
    })
    .from(generations)
    .innerJoin(
      processes,
      and(
        eq(processes.subscriptionId, generations.subscriptionId),
        eq(processes.generation, generations.generation),
      ),
    )
    .all();
}

/** What level 1 looks at. */
export type ScaledProcess = Pick<
  ProcessRow,
  | "id"
  | "subscriptionId"
  | "generation"
  | "desired"
  | "state"
  | "ready"
  | "nodeId"
  | "drainDeadline"
  | "firstReadyAt"
>;

export function listScaledProcesses(
  sql: Sql,
  subscriptionIds: readonly string[],
): ReadonlyMap<string, readonly ScaledProcess[]> {
  const rows = sql
    .select({
      id: processes.id,
      subscriptionId: processes.subscriptionId,
      generation: processes.generation,
      desired: processes.desired,
      state: processes.state,
      ready: processes.ready,
      nodeId: processes.nodeId,
      drainDeadline: processes.drainDeadline,
      firstReadyAt: processes.firstReadyAt,
    })
    .from(processes)
    .where(inArray(processes.subscriptionId, [...subscriptionIds]))
    .orderBy(asc(processes.id))
    .all();
  return Map.groupBy(rows, ({ subscriptionId }) => subscriptionId);
}

/** What each process may use, by subscription and generation as `generationKey` writes them. */
export function listLimits(
  sql: Sql,
  subscriptionIds: readonly string[],
): ReadonlyMap<string, Limits> {
  const rows = sql
    .select({
      subscriptionId: generations.subscriptionId,
      generation: generations.generation,
      // As text: the rest of a specification can be long.
      limits: raw<string>`json_extract(${generations.spec}, '$.limits')`,
    })
    .from(generations)
    .where(inArray(generations.subscriptionId, [...subscriptionIds]))
    .all();
  return new Map(rows.map((row) => [generationKey(row), Limits.parse(JSON.parse(row.limits))]));
}

export function generationKey(row: {
  readonly subscriptionId: string;
  readonly generation: number;
}): string {
  return `${row.subscriptionId}/${row.generation}`;
}

/** Subscriptions that have processes on any of the nodes. */
export function listSubscriptionsOn(sql: Sql, nodeIds: readonly string[]): readonly string[] {
  return sql
    .selectDistinct({ id: processes.subscriptionId })
    .from(processes)
    .where(inArray(processes.nodeId, [...nodeIds]))
    .all()
    .map(({ id }) => id);
}

/** Which scaling policies have processes on which nodes. */
export function listNodesByPolicy(
  sql: Sql,
): readonly { readonly nodeId: string; readonly policyName: string }[] {
  const rows = sql
    .selectDistinct({ nodeId: processes.nodeId, policyName: subscriptions.scalingPolicy })
    .from(processes)
    .innerJoin(subscriptions, eq(subscriptions.id, processes.subscriptionId))
    .where(and(isNotNull(processes.nodeId), isNotNull(subscriptions.scalingPolicy)))
    .all();
  return rows.flatMap(({ nodeId, policyName }) =>
    nodeId === null || policyName === null ? [] : [{ nodeId, policyName }],
  );
}

/** One that nothing has happened to yet. */
export function newProcess(
  { newId, now }: Pick<Unit, "newId" | "now">,
  {
    alias,
    ...fields
  }: Pick<ProcessRow, "subscriptionId" | "generation" | "attempt"> & {
    /** What its id begins with. */
    readonly alias: string;
  },
): ProcessRow {
  return {
    ...fields,
    id: `${alias}-${newId()}`,
    desired: "running",
    state: "pending",
    stateAt: now,
    ready: false,
    runId: null,
    nodeId: null,
    assignmentId: null,
    fence: 0,
    drainDeadline: null,
    noticeUntil: null,
    firstReadyAt: null,
    decidedRevision: 0,
    startDeadline: null,
    pid: null,
    restarts: 0,
    address: null,
    address6: null,
    ports: [],
    startedAt: null,
    lastExit: null,
    problem: null,
    createdAt: now,
  };
}

export function insertProcess(sql: Sql, row: ProcessRow): void {
  sql.insert(processes).values(row).run();
}

/** By the names of the columns; one that becomes null is written `name=`. */
const updateStatement = keepStatements((sql, key) =>
  sql
    .update(processes)
    .set(
      Object.fromEntries(
        key
          .split(" ")
          .map((name) =>
            name.endsWith("=") ? [name.slice(0, -1), null] : [name, raw.placeholder(name)],
          ),
      ),
    )
    .where(eq(processes.id, raw.placeholder("itsId")))
    .prepare(),
);

export function updateProcess(sql: Sql, id: string, change: Partial<ProcessRow>): void {
  const key = Object.entries(change).map(([name, value]) => (value === null ? `${name}=` : name));
  updateStatement(sql, key.join(" ")).run({ ...change, itsId: id });
}

export function deleteProcess(sql: Sql, id: string): void {
  sql.delete(processes).where(eq(processes.id, id)).run();
}

/** What may still run on a node that fell silent. Ended processes keep their state. */
export function listRunningOn(sql: Sql, nodeId: string): readonly ProcessRow[] {
  return listProcessesOfNode(sql, nodeId).filter(
    ({ state }) => state !== "stopped" && state !== "failed" && state !== "suspect",
  );
}

/** What SQLite takes for "all of them". */
const NO_LIMIT = -1;

function readViews(sql: Sql, where: SQL | undefined, limit: number): readonly ProcessView[] {
  return sql
    .select({ process: processes, spec: generations.spec })
    .from(processes)
    .innerJoin(subscriptions, eq(subscriptions.id, processes.subscriptionId))
    .innerJoin(
      generations,
      and(
        eq(generations.subscriptionId, processes.subscriptionId),
        eq(generations.generation, processes.generation),
      ),
    )
    .where(where)
    .orderBy(asc(processes.id))
    .limit(limit)
    .all();
}
