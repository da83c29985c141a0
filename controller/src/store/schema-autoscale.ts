/** Tables of both levels of scaling. */
import type { Capacity } from "@strata/protocol/agent/messages";
import { index, integer, primaryKey, real, sqliteTable, text } from "drizzle-orm/sqlite-core";

import type { History, L1State, L1Trace } from "../domain/autoscale/l1/model.ts";
import type { SeasonalHistory } from "../domain/autoscale/l1/seasonal.ts";
import type { L2Action, L2State, L2Trace } from "../domain/autoscale/l2/model.ts";
import type { Problem } from "../domain/process.ts";
import { nodes, partitions, providers, subscriptions } from "./schema.ts";

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
