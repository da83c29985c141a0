/** Level 2 at work: what each partition has and needs, what `decidePartition` says, one transaction with all of it;
 * then providers are asked, beside the loop. */
import type { Capacity } from "@strata/protocol/agent/messages";
import type { PartitionPolicy } from "@strata/protocol/api/autoscale";

import { decidePartition } from "../domain/autoscale/l2/decide.ts";
import { INITIAL_L2_STATE, type L2Situation, type Traits } from "../domain/autoscale/l2/model.ts";
import { isSame } from "../domain/canonical.ts";
import { parseFlavors } from "../operations/providers.ts";
import { scalerOf } from "../operations/vms.ts";
import type { Sql } from "../store/database.ts";
import {
  listAllPartitions,
  listAllPartitionPolicies,
  parsePartitionPolicy,
} from "../store/partitions.ts";
import { listAllProviders, type ProviderRow } from "../store/providers.ts";
import { listNewestGenerations } from "../store/subscriptions.ts";
import { listVms, type VmRow } from "../store/vms.ts";
import { applyDecision } from "./provision-apply.ts";
import { type CallsOptions, createCalls } from "./provision-calls.ts";
import { createForecasts } from "./provision-forecast.ts";
import { createSweep, type SweptProvider } from "./provision-sweep.ts";
import { type Fleet, readNodes, readOffers, readSubscriptions, smaller } from "./provision-view.ts";
import { createRebalance } from "./rebalance.ts";
import { readSnapshot, type Snapshot, type SnapshotOptions } from "./snapshot.ts";

export type ProvisionOptions = CallsOptions & {
  readonly now: () => SnapshotOptions;
  readonly cpuOvercommit: number;
  readonly isHeld: () => boolean;
  /** Processes that are to move: filled here, and acted on by the reconcile loop. */
  readonly moving: Set<string>;
  /** A node takes processes again, or gives them away. */
  readonly onChange: () => void;
};

export type Provision = {
  /** Decides for every partition and begins what calls there are to make. Milliseconds until there is more to do,
   * even if nothing happens. */
  readonly tick: () => number;
  /** Kept when no provider is being asked. */
  readonly idle: () => Promise<void>;
  readonly stop: () => Promise<void>;
};

/** Without a policy that says otherwise. */
const SWEEP_INTERVAL_MS = 120_000;

/** What nodes said of themselves, by flavor and by line of a policy. */
type Measured = {
  readonly capacities: Map<string, Capacity>;
  readonly traits: Map<string, Traits>;
};

type Governed = { readonly partition: string; readonly policy: PartitionPolicy };

export function createProvision(options: ProvisionOptions): Provision {
  const { store } = options;
  const calls = createCalls(options);
  const sweep = createSweep(options);
  const decide = createDecide(options);
  const measured: Measured = { capacities: new Map(), traits: new Map() };
  return {
    tick: () => {
      const providers = listAllProviders(store.sql);
      const governed = readGoverned(store.sql);
      if (providers.length === 0 && governed.length === 0) return Infinity;
      if (!options.epochs.isConfirmed()) return sweep.pursue(sweptProviders(providers, governed));
      const fleet = readFleet(options, providers, measured);
      const wakeAts = governed.map((one) => decide(one, fleet));
      const decideMs = Math.max(0, Math.min(...wakeAts) - fleet.snapshot.nowMs);
      const callMs = calls.pursue(listVms(store.sql));
      const sweepMs = sweep.pursue(sweptProviders(providers, governed));
      return Math.min(decideMs, callMs, sweepMs);
    },
    idle: async () => {
      await sweep.idle();
      await calls.idle();
    },
    stop: async () => {
      await Promise.all([calls.stop(), sweep.stop()]);
    },
  };
}

/** Decides for one partition. Gives the time by which to decide again. */
function createDecide(options: ProvisionOptions): (governed: Governed, fleet: Fleet) => number {
  const { store } = options;
  const forecasts = createForecasts();
  const rebalance = createRebalance(options.moving);
  return ({ partition, policy }, fleet) => {
    const { snapshot } = fleet;
    const now = snapshot.nowMs;
    const scaler = scalerOf({ sql: store.sql, now: new Date(now).toISOString() }, partition);
    const offers = readOffers(policy, fleet);
    const nodes = readNodes(partition, fleet, offers);
    const { subscriptions } = snapshot;
    const forecast = forecasts(store.sql, {
      policy,
      bootTimes: scaler.bootTimes,
      subscriptions,
      now,
    });
    const situation: L2Situation = {
      policy,
      offers,
      nodes,
      subscriptions: readSubscriptions(partition, fleet, forecast),
      state: scaler.state,
      now,
    };
    rebalance.tidy(snapshot);
    const moves = rebalance.look(partition, policy, {
      snapshot,
      nodes,
      nodeIdOf: (viewId) => fleet.vms.find(({ id }) => id === viewId)?.nodeId ?? viewId,
    });
    const isIdle = nodes.length + situation.subscriptions.length + policy.minNodes === 0;
    if (isIdle && isSame(scaler.state, INITIAL_L2_STATE)) return Infinity;
    const decision = decidePartition(situation);
    const isQuiet = decision.actions.length === 0 && isSame(decision.state, scaler.state);
    const { authority } = options;
    const decided = { partition, policy, offers, decision, isQuiet, authority };
    const changed = applyDecision(store, decided);
    if (changed || moves) options.onChange();
    return decision.wakeAt ?? Infinity;
  };
}

function readGoverned(sql: Sql): readonly Governed[] {
  const policies = new Map(
    listAllPartitionPolicies(sql).map((row) => [row.name, parsePartitionPolicy(row)]),
  );
  return listAllPartitions(sql).flatMap(({ name, policy }) => {
    const known = policies.get(policy ?? "");
    return known === undefined ? [] : [{ partition: name, policy: known }];
  });
}

function readFleet(
  { store, now, cpuOvercommit }: ProvisionOptions,
  providers: readonly ProviderRow[],
  measured: Measured,
): Fleet {
  const { sql } = store;
  const snapshot = readSnapshot(sql, now());
  const vms = listVms(sql);
  const reported = new Map<string, Capacity>();
  for (const { provider, flavor, nodeId, state } of vms) {
    const node = snapshot.nodes.get(nodeId ?? "");
    if (node === undefined || state !== "joined") continue;
    const key = `${provider}/${flavor}`;
    const before = reported.get(key);
    reported.set(key, before === undefined ? node.capacity : smaller(before, node.capacity));
  }
  // Remembered while there is no node of the flavor, until the next start.
  for (const [key, capacity] of reported) measured.capacities.set(key, capacity);
  for (const [key, traits] of traitsInCommon(snapshot, vms)) measured.traits.set(key, traits);
  return {
    snapshot,
    vms,
    flavors: new Map(providers.map((row) => [row.name, parseFlavors(row)])),
    measured: (provider, flavor) => measured.capacities.get(`${provider}/${flavor}`),
    traitsOf: (offer) => measured.traits.get(offer) ?? {},
    needs: new Map(
      listNewestGenerations(sql).map((row) => [row.subscriptionId, snapshot.needs.of(row)]),
    ),
    cpuOvercommit,
  };
}

/** By the line of the policy that its VMs were made from. */
function traitsInCommon({ nodes }: Snapshot, vms: readonly VmRow[]): ReadonlyMap<string, Traits> {
  const common = new Map<string, Traits>();
  for (const { offer, nodeId } of vms) {
    const node = nodes.get(nodeId ?? "");
    if (node === undefined) continue;
    const { architecture, labels = node.labels } = common.get(offer) ?? node;
    const shared = Object.entries(labels).filter(([name, value]) => node.labels[name] === value);
    common.set(offer, { architecture, labels: Object.fromEntries(shared) });
  }
  return common;
}

/** Each as often as the most careful policy that uses it wants. */
function sweptProviders(
  providers: readonly ProviderRow[],
  governed: readonly Governed[],
): readonly SweptProvider[] {
  return providers.map(({ name, settings }) => {
    const intervals = governed
      .filter(({ policy }) => policy.providers.some(({ provider }) => provider === name))
      .map(({ policy }) => policy.sweepInterval);
    return { name, settings, intervalMs: Math.min(SWEEP_INTERVAL_MS, ...intervals) };
  });
}
