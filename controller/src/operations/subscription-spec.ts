import type { Limits, ProcessSpec } from "@strata/protocol/agent/messages";
import { parseDigest } from "@strata/protocol/oci/digest";
/** From a subscription and its cartridge to the generation that its processes run. */
import { formatBytes } from "@strata/protocol/units";

import { isSame } from "../domain/canonical.ts";
import { isJobAlias } from "../domain/jobs.ts";
import { neverFits } from "../domain/obstacle.ts";
import { resolveSpec } from "../domain/running.ts";
import { changedFields } from "../domain/spec-changes.ts";
import { ControllerError } from "../errors.ts";
import type { CartridgeRow } from "../store/cartridges.ts";
import { listCapacities } from "../store/nodes.ts";
import { getSecret } from "../store/secrets.ts";
import {
  listSubscriptionsWhere,
  saveSubscription,
  type SubscriptionRow,
} from "../store/subscriptions.ts";
import type { Unit } from "../store/unit.ts";
import { recordGeneration, specOf, startRollout, wishedSpecOf } from "./rollouts.ts";
import { unknownReference } from "./upsert.ts";

/** What the subscription would run now. @throws ControllerError LIMITS_UNSATISFIABLE, REFERENCE_UNKNOWN */
function computeSpec(
  unit: Unit,
  { subscription, cartridge }: { subscription: SubscriptionRow; cartridge: CartridgeRow },
): ProcessSpec {
  const spec = resolveSpec({
    subscription,
    cartridge: { ...cartridge, digest: parseDigest(imageDigest(subscription, cartridge)) },
    secret: (name) => {
      const found = getSecret(unit.sql, { tenant: subscription.tenant, name });
      if (found === undefined) throw unknownReference({ kind: "secret", name });
      return { name, version: found.version };
    },
  });
  requireSatisfiable(unit, { subscription, limits: spec.limits });
  return isJobAlias(subscription.alias) ? { ...spec, restart: "never" } : spec;
}

/** The image that the subscription wishes for. */
export function imageDigest(
  { follow, followedDigest }: Pick<SubscriptionRow, "follow" | "followedDigest">,
  { digest }: Pick<CartridgeRow, "digest">,
): string {
  return follow === "cartridge" ? digest : (followedDigest ?? digest);
}

/** A changed cartridge is a new generation of every subscription that runs it: update once, everywhere.
 * @throws ControllerError LIMITS_UNSATISFIABLE, naming the subscription that it would break. */
export function rollOutCartridge(
  unit: Unit,
  cartridge: CartridgeRow,
  before: CartridgeRow | undefined,
): void {
  const isMoved = before?.repository !== cartridge.repository;
  for (const row of listSubscriptionsWhere(unit.sql, { cartridge: cartridge.name })) {
    if (row.deletedAt !== null) continue;
    // Its tag was just resolved, and images of another repository are not its own.
    const isStale = isMoved || row.follow === "tag";
    const subscription = isStale ? { ...row, followedDigest: null } : row;
    rollOut(unit, { subscription, cartridge, why: `cartridge ${cartridge.name}` });
  }
}

/** A new generation of the subscription, where something that it depends on has made what it runs another thing.
 * @throws ControllerError LIMITS_UNSATISFIABLE, REFERENCE_UNKNOWN */
export function rollOut(
  unit: Unit,
  {
    subscription: row,
    cartridge,
    why,
  }: { subscription: SubscriptionRow; cartridge: CartridgeRow; why: string },
): void {
  const partition = row.ownPartition ?? cartridge.partition ?? row.partition;
  const moved = { ...row, partition };
  const next = advance(unit, { row: moved, before: row, cartridge, cause: why });
  if (next.generation === row.generation) return;
  unit.emit({
    type: "subscription.generation",
    tenant: row.tenant,
    subject: row.alias,
    message: `subscription ${row.alias} goes to generation ${next.generation} with ${why}`,
    data: { generation: next.generation, digest: cartridge.digest },
  });
}

export type Advance = {
  /** As it shall be. */
  readonly row: SubscriptionRow;
  /** As it was; undefined when it is new, or comes back. */
  readonly before: SubscriptionRow | undefined;
  readonly cartridge: CartridgeRow;
  /** Left out, it is read off what changed. */
  readonly cause?: string;
};

/** A new generation when what is wished for, or where, is not what it was. A wish that was rolled back and comes again
 * is no new one.
 * @throws ControllerError LIMITS_UNSATISFIABLE, REFERENCE_UNKNOWN */
export function advance(unit: Unit, { row, before, cartridge, cause }: Advance): SubscriptionRow {
  const spec = computeSpec(unit, { subscription: row, cartridge });
  if (before?.partition === row.partition) {
    if (isSame(spec, wishedSpecOf(unit, row))) return row;
    // A wish for what runs already, after a roll-back.
    if (isSame(spec, specOf(unit, row))) {
      const next = { ...row, wishedGeneration: null };
      saveSubscription(unit.sql, next);
      return next;
    }
  }
  if (isJobAlias(row.alias)) {
    // Its runs of now keep what they began with: there is nothing to roll out.
    const next = { ...row, generation: row.generation + 1 };
    saveSubscription(unit.sql, next);
    recordGeneration(unit, next, spec);
    return next;
  }
  return startRollout(unit, {
    row: { ...row, wishedGeneration: null },
    spec,
    cause: cause ?? causeOf(unit, { row, before, spec }),
    isFresh: before === undefined,
  });
}

function causeOf(
  unit: Unit,
  { row, before, spec }: Pick<Advance, "row" | "before"> & { readonly spec: ProcessSpec },
): string {
  if (row.generation === 0) return "first roll-out";
  if (before === undefined) return "it came back";
  const changed = changedFields(specOf(unit, row), spec);
  const moved = before.partition === row.partition ? [] : ["partition"];
  return `${[...moved, ...changed].join(", ")} changed`;
}

/** A limit that no node could ever hold is a mistake to be told at once, not a process that waits for ever. Where
 * there is no node yet, nobody can know. */
function requireSatisfiable(
  unit: Unit,
  { subscription, limits }: { subscription: SubscriptionRow; limits: Limits },
): void {
  const nodes = listCapacities(unit.sql, subscription.partition);
  if (nodes.length === 0 || nodes.some((node) => neverFits(node.capacity, limits) === undefined))
    return;
  const [largest] = nodes.toSorted((a, b) => b.capacity.memoryBytes - a.capacity.memoryBytes);
  if (largest === undefined) return;
  const { memoryBytes, cpuMillis, pids } = largest.capacity;
  const obstacle = neverFits(largest.capacity, limits);
  throw new ControllerError(
    "LIMITS_UNSATISFIABLE",
    `no node of partition ${subscription.partition} could hold one process of ${subscription.alias}: ${obstacle}`,
    {
      hint:
        `the largest, ${largest.name}, has memory ${formatBytes(memoryBytes)}, cpu ${cpuMillis / 1000} and ` +
        `pids ${pids}: lower the resources, or let a larger node join`,
    },
  );
}
