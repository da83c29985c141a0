import { Limits } from "@strata/protocol/agent/messages";
import {
  and,
  asc,
  count,
  eq,
  gt,
  inArray,
  isNotNull,
  type Placeholder,
  type SQL,
  sql as raw,
} from "drizzle-orm";

import type { Sql } from "./database.ts";
import { keepStatements, placeholdersOf, updateKey } from "./kept-statements.ts";
import type { Kept } from "./kept-tables.ts";
import type { ProcessRow } from "./process-rows.ts";
import { generations, processes, subscriptions } from "./schema.ts";
import type { Unit } from "./unit.ts";

export type { ProcessRow };
export type GenerationRow = typeof generations.$inferSelect;

/** Each subscription's in the order in which they were made; without those that have none. */
export function listProcessesBySubscription(sql: Sql): ReadonlyMap<string, readonly ProcessRow[]> {
  const kept = sql.kept?.read();
  if (kept !== undefined) return kept.processes.bySubscription();
  return Map.groupBy(
    sql.select().from(processes).orderBy(asc(processes.createdAt), asc(processes.id)).all(),
    ({ subscriptionId }) => subscriptionId,
  );
}

export function listProcessesOfNode(sql: Sql, nodeId: string): readonly ProcessRow[] {
  const kept = sql.kept?.read();
  if (kept !== undefined) return kept.processes.ofNode(nodeId);
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
  const kept = sql.kept?.read();
  if (kept !== undefined) return kept.processes.ofSubscription(subscriptionId);
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
  const kept = sql.kept?.read();
  const process = kept?.processes.all.get(id);
  if (kept !== undefined) return process && { process, spec: requireSpec(kept, process) };
  return readViews(sql, eq(processes.id, id), 1)[0];
}

/** Every process that the node shall know of, with what it runs. */
export function listAssigned(sql: Sql, nodeId: string): readonly ProcessView[] {
  return listViewsOfNode(sql, nodeId).filter(({ process }) => process.assignmentId !== null);
}

/** All that is meant for the node, with what it runs. */
export function listViewsOfNode(sql: Sql, nodeId: string): readonly ProcessView[] {
  const kept = sql.kept?.read();
  return kept === undefined
    ? readViews(sql, eq(processes.nodeId, nodeId), NO_LIMIT)
    : kept.processes
        .ofNode(nodeId)
        .map((process) => ({ process, spec: requireSpec(kept, process) }));
}

export function countProcessesByState(sql: Sql): ReadonlyMap<ProcessRow["state"], number> {
  const rows = sql
    .select({ state: processes.state, n: count() })
    .from(processes)
    .groupBy(processes.state)
    .all();
  return new Map(rows.map(({ state, n }) => [state, n]));
}

/** For many calls outside of a transaction; undefined for a generation that is not known any more. */
export function createFindSpec(
  sql: Sql,
): (
  key: Pick<GenerationRow, "subscriptionId" | "generation">,
) => GenerationRow["spec"] | undefined {
  const kept = sql.kept?.read();
  if (kept !== undefined) return kept.findSpec;
  return ({ subscriptionId, generation }) =>
    sql
      .select({ spec: generations.spec })
      .from(generations)
      .where(
        and(eq(generations.subscriptionId, subscriptionId), eq(generations.generation, generation)),
      )
      .get()?.spec;
}

/** @throws Error for a generation that has no processes */
function requireSpec(
  kept: Kept,
  key: Pick<GenerationRow, "subscriptionId" | "generation">,
): GenerationRow["spec"] {
  const spec = kept.findSpec(key);
  if (spec === undefined)
    throw new Error(`there is no generation ${key.generation} of ${key.subscriptionId}`);
  return spec;
}

/** Specs of the generations that have processes. */
export function listGenerationsInUse(
  sql: Sql,
): readonly Pick<GenerationRow, "subscriptionId" | "generation" | "spec">[] {
  const kept = sql.kept?.read();
  if (kept !== undefined) {
    return [...kept.processes.bySubscription()].flatMap(([subscriptionId, some]) =>
      generationsOf(some).map((generation) => {
        const key = { subscriptionId, generation };
        return { ...key, spec: requireSpec(kept, key) };
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

const knownGenerations = new WeakMap<readonly ProcessRow[], readonly number[]>();

/** Each once. Costs nothing for rows that were asked for before. */
export function generationsOf(rows: readonly ProcessRow[]): readonly number[] {
  const known = knownGenerations.get(rows) ?? [
    ...new Set(rows.map(({ generation }) => generation)),
  ];
  knownGenerations.set(rows, known);
  return known;
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
  | "freeze"
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
      freeze: processes.freeze,
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
    freeze: null,
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

const insertStatement = keepStatements((sql, key) =>
  sql.insert(processes).values(parsePlaceholders(key)).prepare(),
);

/** Drizzle takes null for any column; the database refuses it where it must not be. */
function parsePlaceholders(key: string): { readonly [Name in keyof ProcessRow]: Placeholder } {
  return placeholdersOf(key) as { readonly [Name in keyof ProcessRow]: Placeholder };
}

export function insertProcess(sql: Sql, row: ProcessRow): void {
  insertStatement(sql, updateKey(row)).run(row);
}

/** By the names of the columns, as `updateKey` writes them. */
const updateStatement = keepStatements((sql, key) =>
  sql
    .update(processes)
    .set(placeholdersOf(key))
    .where(eq(processes.id, raw.placeholder("itsId")))
    .prepare(),
);

export function updateProcess(sql: Sql, id: string, change: Partial<ProcessRow>): void {
  updateStatement(sql, updateKey(change)).run({ ...change, itsId: id });
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
