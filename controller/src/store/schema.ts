import type { Scope } from "@strata/protocol/access";
/** Every table of the controller. After a change run `pnpm exec drizzle-kit generate` in `controller/` and check the
 * new file of `migrations/` in: it is applied when a database is opened. */
import type { Capacity, Exit, Port, ProcessSpec } from "@strata/protocol/agent/messages";
import type { ProcessState } from "@strata/protocol/agent/process-state";
import {
  index,
  integer,
  primaryKey,
  sqliteTable,
  text,
  uniqueIndex,
} from "drizzle-orm/sqlite-core";

import type { Admission, Presence } from "../domain/node.ts";
import type { Problem } from "../domain/process.ts";
import type { ImagePort, Running } from "../domain/running.ts";

/** Columns are built anew by each table that spreads these. */
const stored = {
  /** The ETag: grows by one with each change that a PUT makes. */
  revision: integer().notNull(),
  createdAt: text().notNull(),
  updatedAt: text().notNull(),
};

/** Facts about this database: `epoch`, `controllerId`. */
export const meta = sqliteTable("meta", { key: text().primaryKey(), value: text().notNull() });

export const partitionPolicies = sqliteTable("partition_policies", {
  name: text().primaryKey(),
  minNodes: integer().notNull(),
  maxNodes: integer().notNull(),
  ...stored,
});

export const scalingPolicies = sqliteTable("scaling_policies", {
  name: text().primaryKey(),
  min: integer().notNull(),
  max: integer().notNull(),
  ...stored,
});

export const partitions = sqliteTable("partitions", {
  name: text().primaryKey(),
  description: text().notNull(),
  labels: text({ mode: "json" }).$type<Readonly<Record<string, string>>>().notNull(),
  policy: text().references(() => partitionPolicies.name),
  ...stored,
});

export const cartridges = sqliteTable("cartridges", {
  name: text().primaryKey(),
  description: text().notNull(),
  /** The reference as it was written. */
  image: text().notNull(),
  repository: text().notNull(),
  /** What the reference named when it was last PUT. */
  digest: text().notNull(),
  imagePorts: text({ mode: "json" }).$type<readonly ImagePort[]>().notNull(),
  partition: text().references(() => partitions.name),
  running: text({ mode: "json" }).$type<Running>().notNull(),
  ...stored,
});

export const subscriptions = sqliteTable(
  "subscriptions",
  {
    id: text().primaryKey(),
    tenant: text().notNull(),
    alias: text().notNull(),
    cartridge: text()
      .notNull()
      .references(() => cartridges.name),
    partition: text()
      .notNull()
      .references(() => partitions.name),
    /** What its own PUT said; null follows the cartridge. */
    ownPartition: text().references(() => partitions.name),
    processes: integer().notNull(),
    scalingPolicy: text().references(() => scalingPolicies.name),
    lostAfterMs: integer().notNull(),
    running: text({ mode: "json" }).$type<Running>().notNull(),
    generation: integer().notNull(),
    /** Set by DELETE; the row goes when the last process has gone. */
    deletedAt: text(),
    ...stored,
  },
  (table) => [
    uniqueIndex("subscriptions_tenant_alias").on(table.tenant, table.alias),
    index("subscriptions_cartridge").on(table.cartridge),
    index("subscriptions_partition").on(table.partition),
  ],
);

/** What each generation of a subscription runs: old processes keep theirs until they are replaced. */
export const generations = sqliteTable(
  "generations",
  {
    subscriptionId: text()
      .notNull()
      .references(() => subscriptions.id, { onDelete: "cascade" }),
    generation: integer().notNull(),
    spec: text({ mode: "json" }).$type<ProcessSpec>().notNull(),
    createdAt: text().notNull(),
  },
  (table) => [primaryKey({ columns: [table.subscriptionId, table.generation] })],
);

export const nodes = sqliteTable(
  "nodes",
  {
    id: text().primaryKey(),
    name: text().notNull(),
    partition: text()
      .notNull()
      .references(() => partitions.name),
    machineId: text().notNull(),
    joinTokenId: text().notNull(),
    admission: text().$type<Admission>().notNull(),
    presence: text().$type<Presence>().notNull(),
    address: text().notNull(),
    architecture: text().notNull(),
    kernel: text().notNull(),
    agentVersion: text().notNull(),
    labels: text({ mode: "json" }).$type<Readonly<Record<string, string>>>().notNull(),
    capacity: text({ mode: "json" }).$type<Capacity>().notNull(),
    /** SHA-256 of the secret part of the node's credential. */
    credentialHash: text().notNull(),
    /** Of what the node is told to run; grows with every change of it. */
    assignmentRevision: integer().notNull(),
    lastSeenAt: text(),
    ...stored,
  },
  (table) => [
    uniqueIndex("nodes_name").on(table.name),
    index("nodes_partition").on(table.partition),
    index("nodes_machine").on(table.machineId),
  ],
);

export const processes = sqliteTable(
  "processes",
  {
    id: text().primaryKey(),
    subscriptionId: text()
      .notNull()
      .references(() => subscriptions.id),
    generation: integer().notNull(),
    /** How many processes before this one failed in the same place of the subscription. */
    attempt: integer().notNull(),
    desired: text().$type<"running" | "stopped">().notNull(),
    state: text().$type<ProcessState>().notNull(),
    stateAt: text().notNull(),
    ready: integer({ mode: "boolean" }).notNull(),
    nodeId: text().references(() => nodes.id),
    assignmentId: text(),
    fence: integer().notNull(),
    /** The node's assignment revision that carries the last decision about this process. */
    decidedRevision: integer().notNull(),
    startDeadline: text(),
    pid: integer(),
    restarts: integer().notNull(),
    address: text(),
    ports: text({ mode: "json" }).$type<readonly Port[]>().notNull(),
    startedAt: text(),
    lastExit: text({ mode: "json" }).$type<Exit>(),
    problem: text({ mode: "json" }).$type<Problem>(),
    createdAt: text().notNull(),
  },
  (table) => [
    index("processes_subscription").on(table.subscriptionId),
    index("processes_node").on(table.nodeId),
  ],
);

export const joinTokens = sqliteTable("join_tokens", {
  id: text().primaryKey(),
  partition: text()
    .notNull()
    .references(() => partitions.name),
  secretHash: text().notNull().unique(),
  usesLeft: integer().notNull(),
  expiresAt: text().notNull(),
  createdAt: text().notNull(),
});

export const tokens = sqliteTable(
  "tokens",
  {
    id: text().primaryKey(),
    name: text().notNull(),
    scope: text().$type<Scope>().notNull(),
    tenant: text().notNull(),
    secretHash: text().notNull(),
    createdAt: text().notNull(),
    expiresAt: text(),
    lastUsedAt: text(),
  },
  (table) => [uniqueIndex("tokens_name").on(table.name)],
);

/** Append-only; the oldest go when there are more than the limit. */
export const events = sqliteTable("events", {
  id: integer().primaryKey({ autoIncrement: true }),
  at: text().notNull(),
  type: text().notNull(),
  tenant: text(),
  subject: text().notNull(),
  message: text().notNull(),
  data: text({ mode: "json" }).$type<Readonly<Record<string, unknown>>>().notNull(),
});
