import type { Scope } from "@strata/protocol/access";
import type { ScalingPolicy } from "@strata/protocol/api/autoscale";
import type { SubscriptionInput } from "@strata/protocol/api/resources";
import { parseReference } from "@strata/protocol/oci/reference";
import type { z } from "zod";

import { boundsAt } from "../domain/autoscale/l1/bounds.ts";
import { clampProcesses, isAutoscaled } from "../domain/scaling.ts";
import { ControllerError } from "../errors.ts";
import type { CartridgeRow } from "../store/cartridges.ts";
import { readScalingPolicy } from "../store/scaling-policies.ts";
import { getSubscription, saveSubscription, type SubscriptionRow } from "../store/subscriptions.ts";
import type { Unit } from "../store/unit.ts";
import { pauseScaling } from "./autoscale.ts";
import { requireHostPathsAllowed } from "./host-paths.ts";
import { requireCartridge } from "./references.ts";
import { firstCount, requireFreeCount, requireRelations, requireUnnamed } from "./relations.ts";
import { specOf, startRollout } from "./rollouts.ts";
import { toRunning } from "./running-input.ts";
import { requireServiceNumber } from "./service-numbers.ts";
import { advance } from "./subscription-spec.ts";
import {
  type Outcome,
  type Precondition,
  requireFound,
  requirePrecondition,
  requireReference,
  upsert,
} from "./upsert.ts";

type Input = z.output<typeof SubscriptionInput>;
export type SubscriptionKey = { readonly tenant: string; readonly alias: string };
export type PutSubscription = SubscriptionKey & {
  readonly input: Input;
  /** Of whoever asks. */
  readonly scope: Scope;
  readonly precondition?: Precondition;
  /** Whoever puts several looks at what they say of each other when all are there. */
  readonly relations?: "now" | "later";
};

/** @throws ControllerError REFERENCE_UNKNOWN, PROCESSES_OUT_OF_BOUNDS, LIMITS_UNSATISFIABLE, FORBIDDEN, RATIO_DECIDES,
 * RELATION_CYCLE */
export function putSubscription(unit: Unit, put: PutSubscription): Outcome<SubscriptionRow> {
  const { tenant, alias, input } = put;
  const stored = getSubscription(unit.sql, put);
  // One that is still being deleted comes back under its id: its last processes then stop as outdated ones.
  const current = stored?.deletedAt === null ? stored : undefined;
  const { cartridge, partition, policy } = requireReferences(unit, { ...input, tenant });
  const { ratio = null } = input;
  requireFreeCount({ alias, ratio }, input.processes, policy);
  const running = toRunning(input);
  requireHostPathsAllowed(put.scope, { ...cartridge.running, ...running });
  const id = stored?.id ?? unit.newId();
  const serviceNumber = stored?.serviceNumber ?? requireServiceNumber(unit);
  const outcome = upsert(unit, {
    kind: "subscription",
    name: alias,
    tenant,
    current,
    fields: {
      cartridge: input.cartridge,
      partition,
      ownPartition: input.partition ?? null,
      processes: wantedProcesses(unit, {
        asked: input.processes,
        before: current?.processes ?? firstCount(unit, tenant, ratio),
        policy,
      }),
      scalingPolicy: input.scalingPolicy ?? null,
      lostAfterMs: input.lostAfter,
      running,
      rollout: input.rollout ?? null,
      drain: input.drain ?? null,
      placement: input.placement ?? null,
      dependsOn: input.dependsOn ?? null,
      ratio,
      follow: input.follow,
      network: input.network ?? null,
    },
    precondition: put.precondition,
    toRow: (fields, times): SubscriptionRow => ({
      id,
      tenant,
      alias,
      ...fields,
      ...times,
      revision: (stored?.revision ?? 0) + 1,
      generation: stored?.generation ?? 0,
      followedDigest: keepsFollowing(current, fields) ? (current?.followedDigest ?? null) : null,
      wishedGeneration: stored?.wishedGeneration ?? null,
      serviceNumber,
      startedAt: current?.startedAt ?? null,
      deletedAt: null,
    }),
    save: (row) => saveSubscription(unit.sql, row),
  });
  if (put.relations !== "later") requireRelations(unit, outcome.row);
  if (outcome.action === "unchanged") return outcome;
  if (
    current !== undefined &&
    input.processes !== undefined &&
    outcome.row.processes !== current.processes
  )
    pauseByHand(unit, { row: outcome.row, policy });
  return { ...outcome, row: advance(unit, { row: outcome.row, before: current, cartridge }) };
}

/** @throws ControllerError PROCESSES_OUT_OF_BOUNDS, RATIO_DECIDES */
export function scaleSubscription(
  unit: Unit,
  {
    processes,
    precondition,
    ...key
  }: SubscriptionKey & { processes: number; precondition?: Precondition },
): SubscriptionRow {
  const row = requireLive(unit, key);
  requirePrecondition(precondition, row, `subscription ${key.alias}`);
  const policy = readNamedPolicy(unit, row.scalingPolicy);
  requireFreeCount(row, processes, policy);
  const wanted = wantedProcesses(unit, { asked: processes, before: row.processes, policy });
  pauseByHand(unit, { row, policy });
  if (wanted === row.processes) return row;
  const next = touch(unit, { ...row, processes: wanted });
  unit.emit({
    type: "subscription.scaled",
    tenant: key.tenant,
    subject: key.alias,
    message: `subscription ${key.alias} goes from ${row.processes} to ${wanted} processes`,
    data: { from: row.processes, to: wanted },
  });
  return next;
}

/** Replaces every process by a new one of the same spec, by the rules of a roll-out. */
export function restartSubscription(unit: Unit, key: SubscriptionKey): SubscriptionRow {
  const row = requireLive(unit, key);
  const spec = specOf(unit, row);
  if (spec === undefined)
    throw new Error(`subscription ${row.id} has no generation ${row.generation}`);
  const next = startRollout(unit, { row: touch(unit, row), spec, cause: "restart" });
  unit.emit({
    type: "subscription.restarted",
    tenant: key.tenant,
    subject: key.alias,
    message: `all processes of subscription ${key.alias} are being replaced`,
    data: { generation: next.generation },
  });
  return next;
}

/** Its processes are stopped by the reconcile loop, which forgets it with the last of them. Idempotent.
 * @throws ControllerError IN_USE */
export function removeSubscription(
  unit: Unit,
  { precondition, ...key }: SubscriptionKey & { precondition?: Precondition },
): SubscriptionRow {
  const row = requireSubscription(unit, key);
  requirePrecondition(precondition, row, `subscription ${key.alias}`);
  if (row.deletedAt !== null) return row;
  requireUnnamed(unit, row);
  const next = touch(unit, { ...row, deletedAt: unit.now });
  unit.emit({
    type: "subscription.deleting",
    tenant: key.tenant,
    subject: key.alias,
    message: `subscription ${key.alias} is being deleted`,
  });
  return next;
}

/** What following found is found anew for another cartridge or another way of following. */
function keepsFollowing(
  current: SubscriptionRow | undefined,
  { cartridge, follow }: Pick<SubscriptionRow, "cartridge" | "follow">,
): boolean {
  return current?.cartridge === cartridge && current.follow === follow;
}

function requireSubscription(unit: Unit, key: SubscriptionKey): SubscriptionRow {
  return requireFound(getSubscription(unit.sql, key), { kind: "subscription", name: key.alias });
}

/** One that is not being deleted. @throws ControllerError NOT_FOUND */
export function requireLive(unit: Unit, key: SubscriptionKey): SubscriptionRow {
  const row = requireSubscription(unit, key);
  return requireFound(row.deletedAt === null ? row : undefined, {
    kind: "subscription",
    name: key.alias,
  });
}

/** Saves it under the next revision. */
export function touch(unit: Unit, row: SubscriptionRow): SubscriptionRow {
  const next = { ...row, revision: row.revision + 1, updatedAt: unit.now };
  saveSubscription(unit.sql, next);
  return next;
}

/** Level 1 leaves a count that a person has set alone for a while. */
function pauseByHand(
  unit: Unit,
  { row, policy }: { readonly row: SubscriptionRow; readonly policy: NamedPolicy | undefined },
): void {
  if (policy === undefined || !isAutoscaled(policy) || policy.pauseAfterScale === 0) return;
  const until = pauseScaling(unit, row.id, policy.pauseAfterScale);
  unit.emit({
    type: "subscription.paused",
    tenant: row.tenant,
    subject: row.alias,
    message: `scaling policy ${policy.name} leaves subscription ${row.alias} alone until ${new Date(until).toISOString()}: its count was set by hand`,
    data: { until: new Date(until).toISOString() },
  });
}

type NamedPolicy = ScalingPolicy & { readonly name: string };

type References = {
  readonly cartridge: CartridgeRow;
  readonly partition: string;
  readonly policy: NamedPolicy | undefined;
};

function requireReferences(unit: Unit, input: Input & { readonly tenant: string }): References {
  const { cartridge, partition } = requireCartridge(unit, input);
  requireFollowable(input, cartridge);
  const { scalingPolicy = null } = input;
  const policy = readNamedPolicy(unit, scalingPolicy);
  if (scalingPolicy !== null)
    requireReference(policy !== undefined, { kind: "scaling policy", name: scalingPolicy });
  return { cartridge, partition, policy };
}

/** @throws ControllerError INVALID */
function requireFollowable({ follow }: Input, { name, image }: CartridgeRow): void {
  if (follow !== "tag" || "tag" in parseReference(image)) return;
  throw new ControllerError("INVALID", `cartridge ${name} names an image by digest: ${image}`, {
    hint: 'name it by a tag, or leave "follow" at "cartridge", or follow the "newest"',
  });
}

function readNamedPolicy({ sql }: Unit, name: string | null): NamedPolicy | undefined {
  const policy = readScalingPolicy(sql, name);
  return name === null || policy === undefined ? undefined : { ...policy, name };
}

/** A count that somebody asks for must lie within the policy; one that is left out is brought within it. */
function wantedProcesses(
  { nowMs }: Unit,
  {
    asked,
    before,
    policy,
  }: {
    readonly asked: number | undefined;
    readonly before: number | undefined;
    readonly policy: NamedPolicy | undefined;
  },
): number {
  const wanted = clampProcesses(asked ?? before ?? 1, policy, nowMs);
  if (asked === undefined || policy === undefined || wanted === asked) return wanted;
  const { min, max } = boundsAt(policy, [], nowMs);
  throw new ControllerError(
    "PROCESSES_OUT_OF_BOUNDS",
    `${asked} processes, but scaling policy ${policy.name} allows ${min} to ${max}`,
    { hint: `ask for a number between, or change PUT /v1/scaling-policies/${policy.name}` },
  );
}
