import type { Scope } from "@strata/protocol/access";
/** Every table of the controller. After a change run `pnpm exec drizzle-kit generate` in `controller/` and check the
 * new file of `migrations/` in: it is applied when a database is opened. */
import type { Capacity, Exit, Port, ProcessSpec } from "@strata/protocol/agent/messages";
import type { ProcessState } from "@strata/protocol/agent/process-state";
import type { PartitionPolicyInput, ScalingPolicyInput } from "@strata/protocol/api/autoscale";
import type { NamedKey, SignatureMode } from "@strata/protocol/api/store-rules";
import type { Signature } from "@strata/protocol/signature/read-signatures";
import {
  index,
  integer,
  primaryKey,
  real,
  sqliteTable,
  text,
  uniqueIndex,
} from "drizzle-orm/sqlite-core";
import type { z } from "zod";

import type { History, L1State, L1Trace } from "../domain/autoscale/l1/model.ts";
import type { SeasonalHistory } from "../domain/autoscale/l1/seasonal.ts";
import type { L2Action, L2State, L2Trace } from "../domain/autoscale/l2/model.ts";
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

/** Policies are kept in the form in which people write them: what a later version adds takes its default when read. */
export const partitionPolicies = sqliteTable("partition_policies", {
  name: text().primaryKey(),
  policy: text({ mode: "json" }).$type<z.input<typeof PartitionPolicyInput>>().notNull(),
  ...stored,
});

export const scalingPolicies = sqliteTable("scaling_policies", {
  name: text().primaryKey(),
  policy: text({ mode: "json" }).$type<z.input<typeof ScalingPolicyInput>>().notNull(),
  ...stored,
});

/** Where VMs come from. Settings may hold credentials: they are shown to nobody. */
export const providers = sqliteTable("providers", {
  name: text().primaryKey(),
  settings: text({ mode: "json" }).$type<Readonly<Record<string, unknown>>>().notNull(),
  flavors: text({ mode: "json" }).$type<Readonly<Record<string, unknown>>>().notNull(),
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
    /** Who drains it: the scaler may think better of its own drains alone. Null when nobody does. */
    drainedBy: text().$type<"operator" | "scaler">(),
    presence: text().$type<Presence>().notNull(),
    /** Since when it is away; null when it is not. */
    awaySince: text(),
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
    /** It serves what it has, gets nothing new, and is stopped at this time at the latest; null when it is wanted. */
    drainDeadline: text(),
    /** When it was ready for the first time. */
    firstReadyAt: text(),
    /** The node's assignment revision that carries the last decision about this process. */
    decidedRevision: integer().notNull(),
    startDeadline: text(),
    pid: integer(),
    restarts: integer().notNull(),
    address: text(),
    address6: text(),
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

/** Values are sealed with a key that is not in this database. */
export const secrets = sqliteTable(
  "secrets",
  { tenant: text().notNull(), name: text().notNull(), version: integer().notNull(), ...stored },
  (table) => [primaryKey({ columns: [table.tenant, table.name] })],
);

/** Old versions stay as long as something may still run with them. */
export const secretVersions = sqliteTable(
  "secret_versions",
  {
    tenant: text().notNull(),
    name: text().notNull(),
    version: integer().notNull(),
    sealed: text().notNull(),
    createdAt: text().notNull(),
  },
  (table) => [primaryKey({ columns: [table.tenant, table.name, table.version] })],
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

/** What garbage collection leaves in some repositories. */
export const retentionPolicies = sqliteTable("retention_policies", {
  name: text().primaryKey(),
  repositories: text({ mode: "json" }).$type<string[]>().notNull(),
  keepLast: integer(),
  keepTags: text({ mode: "json" }).$type<string[]>(),
  keepPulledWithinMs: integer(),
  keepUntagged: integer({ mode: "boolean" }).notNull(),
  ...stored,
});

/** How much the repository of this name and all below it may hold. */
export const storeQuotas = sqliteTable("store_quotas", {
  name: text().primaryKey(),
  bytes: integer().notNull(),
  ...stored,
});

/** Level 1 of one subscription: what it carries from one decision to the next. */
export const scalers = sqliteTable("scalers", {
  subscriptionId: text()
    .primaryKey()
    .references(() => subscriptions.id, { onDelete: "cascade" }),
  state: text({ mode: "json" }).$type<L1State>().notNull(),
  seasonal: text({ mode: "json" }).$type<SeasonalHistory>().notNull(),
  /** Newest measurements of placement to ready, in milliseconds, for the 90th percentile. */
  startTimes: text({ mode: "json" }).$type<readonly number[]>().notNull(),
  updatedAt: text().notNull(),
});

/** Decisions of level 1 with all that they were made of; the oldest of a subscription go when it has many. */
export const decisions = sqliteTable(
  "decisions",
  {
    id: integer().primaryKey({ autoIncrement: true }),
    subscriptionId: text()
      .notNull()
      .references(() => subscriptions.id, { onDelete: "cascade" }),
    at: integer().notNull(),
    current: integer().notNull(),
    desired: integer().notNull(),
    acted: integer({ mode: "boolean" }).notNull(),
    limiter: text(),
    reason: text().notNull(),
    policyName: text().notNull(),
    policyRevision: integer().notNull(),
    history: text({ mode: "json" }).$type<History>().notNull(),
    trace: text({ mode: "json" }).$type<L1Trace>().notNull(),
    /** Before the decision, now and then: a replay begins where one is. */
    state: text({ mode: "json" }).$type<L1State>(),
  },
  (table) => [index("decisions_subscription").on(table.subscriptionId, table.id)],
);

/** The newest value of each custom metric. */
export const readings = sqliteTable(
  "readings",
  {
    subscriptionId: text()
      .notNull()
      .references(() => subscriptions.id, { onDelete: "cascade" }),
    metric: text().notNull(),
    value: real().notNull(),
    at: integer().notNull(),
  },
  (table) => [primaryKey({ columns: [table.subscriptionId, table.metric] })],
);

/** Level 2 of one partition: what it carries from one decision to the next. */
export const partitionScalers = sqliteTable("partition_scalers", {
  partition: text()
    .primaryKey()
    .references(() => partitions.name, { onDelete: "cascade" }),
  state: text({ mode: "json" }).$type<L2State>().notNull(),
  /** Newest measurements of VM request to ready agent, in milliseconds. */
  bootTimes: text({ mode: "json" }).$type<readonly number[]>().notNull(),
  updatedAt: text().notNull(),
});

/** Decisions of level 2 that did something, or whose reason was a new one. */
export const partitionDecisions = sqliteTable(
  "partition_decisions",
  {
    id: integer().primaryKey({ autoIncrement: true }),
    partition: text()
      .notNull()
      .references(() => partitions.name, { onDelete: "cascade" }),
    at: integer().notNull(),
    desired: integer().notNull(),
    reason: text().notNull(),
    actions: text({ mode: "json" }).$type<readonly L2Action[]>().notNull(),
    trace: text({ mode: "json" }).$type<L2Trace>().notNull(),
  },
  (table) => [index("partition_decisions_partition").on(table.partition, table.id)],
);

/** A VM that was asked for, from the moment before its provider hears of it until it is known to be gone. */
export const vms = sqliteTable(
  "vms",
  {
    /** The client token: the same never makes a second VM. */
    id: text().primaryKey(),
    partition: text()
      .notNull()
      .references(() => partitions.name),
    provider: text()
      .notNull()
      .references(() => providers.name),
    /** Key of the line of the policy that it was made from. */
    offer: text().notNull(),
    flavor: text().notNull(),
    zone: text(),
    capacity: text({ mode: "json" }).$type<Capacity>().notNull(),
    state: text().$type<"launching" | "booting" | "joined" | "deleting">().notNull(),
    /** What the provider calls it, once it has said so. */
    providerVmId: text(),
    joinTokenId: text().notNull(),
    nodeId: text().references(() => nodes.id, { onDelete: "set null" }),
    requestedAt: text().notNull(),
    joinedAt: text(),
    /** Why it is being deleted. */
    deleteReason: text(),
    /** What the provider said last when something failed. */
    problem: text({ mode: "json" }).$type<Problem>(),
  },
  (table) => [index("vms_partition").on(table.partition)],
);

/** Whose signatures images of some repositories need. */
export const signaturePolicies = sqliteTable("signature_policies", {
  name: text().primaryKey(),
  repositories: text({ mode: "json" }).$type<string[]>().notNull(),
  mode: text().$type<SignatureMode>().notNull(),
  keys: text({ mode: "json" }).$type<NamedKey[]>().notNull(),
  ...stored,
});

/** The signatures that an image had when a cartridge was last put that names it: a policy can so be held against it
 * when its processes are placed, without reading the store. */
export const imageSignatures = sqliteTable(
  "image_signatures",
  {
    repository: text().notNull(),
    digest: text().notNull(),
    signatures: text({ mode: "json" }).$type<readonly Signature[]>().notNull(),
  },
  (table) => [primaryKey({ columns: [table.repository, table.digest] })],
);
