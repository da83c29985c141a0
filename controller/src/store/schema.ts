/** Every table of the controller. After a change run `pnpm exec drizzle-kit generate` in `controller/` and check the
 * new file of `migrations/` in: it is applied when a database is opened. */
import type { Capacity, Exit, Port, ProcessSpec } from "@strata/protocol/agent/messages";
import type { ProcessState } from "@strata/protocol/agent/process-state";
import type { PartitionPolicyInput, ScalingPolicyInput } from "@strata/protocol/api/autoscale";
import type { DrainPolicy } from "@strata/protocol/api/drain";
import type { NodeRole, SubscriptionNetwork } from "@strata/protocol/api/network";
import type { NodeUpgrade } from "@strata/protocol/api/nodes";
import type { Placement } from "@strata/protocol/api/placement";
import type { Follow, Ratio, RolloutPolicy, RolloutState } from "@strata/protocol/api/rollouts";
import type { NamedKey, SignatureMode } from "@strata/protocol/api/store-rules";
import type { Signature } from "@strata/protocol/signature/read-signatures";
import { sql as raw } from "drizzle-orm";
import {
  index,
  integer,
  primaryKey,
  sqliteTable,
  text,
  uniqueIndex,
} from "drizzle-orm/sqlite-core";
import type { z } from "zod";

import type { ImageVariant } from "../domain/image-variant.ts";
import type { Admission, Presence } from "../domain/node.ts";
import type { Problem } from "../domain/process.ts";
import type { ImagePort, Running } from "../domain/running.ts";
import { stored } from "./columns.ts";

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
  /** What its nodes do beside running processes. */
  roles: text({ mode: "json" }).$type<NodeRole[]>().notNull().default([]),
  ...stored,
});

export const cartridges = sqliteTable("cartridges", {
  name: text().primaryKey(),
  /** Whose it is: only they change it, and where it is not `default`, only they see it. */
  tenant: text().notNull().default("default"),
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
    /** What a PUT said of these, where it said anything; what each means is with its type. */
    rollout: text({ mode: "json" }).$type<RolloutPolicy>(),
    placement: text({ mode: "json" }).$type<Placement>(),
    dependsOn: text({ mode: "json" }).$type<string[]>(),
    ratio: text({ mode: "json" }).$type<Ratio>(),
    /** When its first process was placed: from then on it waits for no other subscription. */
    startedAt: text(),
    /** Which image of its cartridge's repository it runs. */
    follow: text().$type<Follow>().notNull().default("cartridge"),
    /** How its processes go that are no longer wanted. */
    drain: text({ mode: "json" }).$type<DrainPolicy>(),
    /** The image that following found; null runs the cartridge's. */
    followedDigest: text(),
    /** What a PUT said of it; null means what the type says. */
    network: text({ mode: "json" }).$type<SubscriptionNetwork>(),
    /** Which address of the service network is its own, for as long as it exists; null for a job's. */
    serviceNumber: integer(),
    generation: integer().notNull(),
    /** The generation that its fields describe, where a roll-back has it run another; null when it runs that one. */
    wishedGeneration: integer(),
    /** Set by DELETE; the row goes when the last process has gone. */
    deletedAt: text(),
    ...stored,
  },
  (table) => [
    uniqueIndex("subscriptions_tenant_alias").on(table.tenant, table.alias),
    index("subscriptions_cartridge").on(table.cartridge),
    index("subscriptions_partition").on(table.partition),
    uniqueIndex("subscriptions_service_number").on(table.serviceNumber),
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

/** How each generation of a subscription came in, and how that ended. */
export const rollouts = sqliteTable(
  "rollouts",
  {
    subscriptionId: text()
      .notNull()
      .references(() => subscriptions.id, { onDelete: "cascade" }),
    generation: integer().notNull(),
    /** Of the image; kept when the generation itself is forgotten, so that one that failed stays known. */
    digest: text().notNull(),
    /** The generation that ran before; null for the first. */
    fromGeneration: integer(),
    state: text().$type<RolloutState>().notNull(),
    /** Why there is a new generation, for people. */
    cause: text().notNull(),
    /** Fields of what a process runs that differ from the generation before. */
    changed: text({ mode: "json" }).$type<readonly string[]>().notNull().default([]),
    /** The generation whose spec this one has taken again; null when it is no roll-back. */
    rollbackTo: integer(),
    /** Why it stands as it does; null while all goes well. */
    reason: text(),
    /** A canary that was found good goes on to all. */
    isPromoted: integer({ mode: "boolean" }).notNull(),
    /** How many processes may be of this generation while it is paused; null when it is not. */
    held: integer(),
    startedAt: text().notNull(),
    /** When it last came nearer to its end: its deadline counts from here. */
    progressAt: text().notNull(),
    /** Null as long as there is something to do for it, or to try again. */
    endedAt: text(),
  },
  (table) => [
    primaryKey({ columns: [table.subscriptionId, table.generation] }),
    index("rollouts_open")
      .on(table.subscriptionId)
      .where(raw`ended_at is null`),
  ],
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
    /** When a drain stops what has not left by then, replaced or not; null waits for ever. */
    drainDeadline: text(),
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
    /** The version of the agent that an operator wants there, and how far that is; null wants what runs. */
    upgrade: text({ mode: "json" }).$type<NodeUpgrade>(),
    /** Its own roles; null has those of its partition. */
    roles: text({ mode: "json" }).$type<NodeRole[]>(),
    ...stored,
  },
  (table) => [
    uniqueIndex("nodes_name").on(table.name),
    index("nodes_partition").on(table.partition),
    index("nodes_machine").on(table.machineId),
  ],
);

/** Nodes that were deleted: an agent that comes back with the credential of one is told to give up what it runs. */
export const formerNodes = sqliteTable("former_nodes", {
  id: text().primaryKey(),
  name: text().notNull(),
  credentialHash: text().notNull(),
  deletedAt: text().notNull(),
});

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
    /** Before that it is not stopped either: who knows of it may still come. Null where nobody does. */
    noticeUntil: text(),
    /** Its subscription sleeps: ingresses are told to send it nothing more, then its node to freeze it. Null when awake. */
    freeze: text().$type<"announced" | "ordered">(),
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
    /** The run of a job that it is; null for a process of a subscription. */
    runId: text(),
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

/** Whose signatures images of some repositories need. */
export const signaturePolicies = sqliteTable("signature_policies", {
  name: text().primaryKey(),
  repositories: text({ mode: "json" }).$type<string[]>().notNull(),
  mode: text().$type<SignatureMode>().notNull(),
  keys: text({ mode: "json" }).$type<NamedKey[]>().notNull(),
  ...stored,
});

/** What is known of an image since a cartridge was last put that names it: its signatures, so that a policy can be held
 * against it when its processes are placed, and what it is made of, without reading the store. */
export const imageSignatures = sqliteTable(
  "image_signatures",
  {
    repository: text().notNull(),
    digest: text().notNull(),
    signatures: text({ mode: "json" }).$type<readonly Signature[]>().notNull(),
    /** Null for an image that was looked at by an older controller. */
    variants: text({ mode: "json" }).$type<readonly ImageVariant[]>(),
  },
  (table) => [primaryKey({ columns: [table.repository, table.digest] })],
);
