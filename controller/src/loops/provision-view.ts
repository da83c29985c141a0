/** What level 2 looks at: rows in its own words. */
import type { Capacity } from "@strata/protocol/agent/messages";
import { choiceKey, type PartitionPolicy } from "@strata/protocol/api/autoscale";
import type { ProviderFlavor } from "@strata/protocol/api/providers";

import type {
  NodeStatus,
  NodeView,
  Offer,
  SubscriptionView,
  Traits,
} from "../domain/autoscale/l2/model.ts";
import { type Need, promisedCapacity, sizeOf } from "../domain/schedule.ts";
import type { NodeRow } from "../store/nodes.ts";
import type { ProcessRow } from "../store/processes.ts";
import type { SubscriptionRow } from "../store/subscriptions.ts";
import type { VmRow } from "../store/vms.ts";
import { heldByNode } from "./node-load.ts";
import { countOverQuota } from "./quota-refusals.ts";
import { nameOf, type Snapshot, toPlanned } from "./snapshot.ts";

export type Fleet = {
  readonly snapshot: Snapshot;
  readonly vms: readonly VmRow[];
  /** By provider: its flavors. */
  readonly flavors: ReadonlyMap<string, Readonly<Record<string, ProviderFlavor>>>;
  /** What nodes of the flavor have reported, if any ever joined. */
  readonly measured: (provider: string, flavor: string) => Capacity | undefined;
  /** What nodes of the line of a policy have in common, if any ever joined. */
  readonly traitsOf: (offer: string) => Traits;
  /** Of one process as the newest generation has it. */
  readonly needs: ReadonlyMap<string, Need>;
  /** Processors are promised so many times over. */
  readonly cpuOvercommit: number;
};

/** An offer with what a VM of it is written down with. */
export type FleetOffer = Offer & {
  readonly flavor: string;
  /** As a node reports it. */
  readonly reported: Capacity;
};

/** The policy's lines whose flavor is known. What nodes report is believed more than any promise, or a promise that
 * is never kept would be asked for again and again. */
export function readOffers(policy: PartitionPolicy, fleet: Fleet): readonly FleetOffer[] {
  return policy.providers.flatMap((choice): readonly FleetOffer[] => {
    const { provider, zone = null } = choice;
    const flavor = fleet.flavors.get(provider)?.[choice.flavor];
    if (flavor === undefined) return [];
    const { capacity } = choice;
    const measured = fleet.measured(provider, choice.flavor);
    const promised: Capacity =
      capacity === undefined
        ? { cpuMillis: flavor.cpu, memoryBytes: flavor.memory, pids: flavor.pids }
        : { cpuMillis: capacity.cpu, memoryBytes: capacity.memory, pids: capacity.pids };
    const reported =
      measured === undefined
        ? promised
        : capacity === undefined
          ? measured
          : smaller(promised, measured);
    const key = choiceKey(choice);
    const traits = fleet.traitsOf(key);
    return [
      {
        key,
        provider,
        zone,
        architecture: traits.architecture,
        labels: { ...traits.labels, ...choice.labels },
        flavor: choice.flavor,
        reported,
        ...promisedCapacity(reported, fleet.cpuOvercommit),
        price: choice.price ?? flavor.price,
        maxNodes: choice.maxNodes ?? policy.maxNodes,
      },
    ];
  });
}

export function smaller(a: Capacity, b: Capacity): Capacity {
  return {
    cpuMillis: Math.min(a.cpuMillis, b.cpuMillis),
    memoryBytes: Math.min(a.memoryBytes, b.memoryBytes),
    pids: Math.min(a.pids, b.pids),
  };
}

/** Every node, and every VM that is none yet. A VM keeps its id as a node. */
export function readNodes(
  partition: string,
  fleet: Fleet,
  offers: readonly FleetOffer[],
): readonly NodeView[] {
  const { snapshot } = fleet;
  // What is given up with a lost node has a successor.
  const held = heldByNode(
    snapshot,
    (subscription, row) =>
      snapshot.held || toPlanned(snapshot, { subscription, row }).whereabouts !== "lost",
  );
  const vmOfNode = new Map(fleet.vms.map((vm) => [vm.nodeId ?? "", vm]));
  const nodes = [...fleet.snapshot.nodes.values()].filter((node) => node.partition === partition);
  return [
    ...nodes.map((node): NodeView => {
      const vm = vmOfNode.get(node.id);
      return {
        id: vm?.id ?? node.id,
        status: statusOf(node, vm),
        offer: vm?.offer ?? null,
        zone: fleet.snapshot.zoneOf(node),
        architecture: node.architecture,
        labels: node.labels,
        ...promisedCapacity(node.capacity, fleet.cpuOvercommit),
        requestedAt: Date.parse(vm?.requestedAt ?? node.createdAt),
        awaySince: node.awaySince === null ? null : Date.parse(node.awaySince),
        drainedByScaler: node.drainedBy === "scaler",
        held: held.get(node.id) ?? [],
      };
    }),
    ...fleet.vms
      .filter((vm) => vm.partition === partition && vm.nodeId === null)
      .map((vm): NodeView => {
        const { architecture, labels = {} } = offers.find(({ key }) => key === vm.offer) ?? {};
        return {
          id: vm.id,
          architecture,
          labels,
          status: vm.state === "joined" ? "booting" : vm.state,
          offer: vm.offer,
          zone: vm.zone,
          ...promisedCapacity(vm.capacity, fleet.cpuOvercommit),
          requestedAt: Date.parse(vm.requestedAt),
          awaySince: null,
          drainedByScaler: false,
          held: [],
        };
      }),
  ];
}

function statusOf(node: NodeRow, vm: VmRow | undefined): NodeStatus {
  if (vm?.state === "deleting") return "deleting";
  if (node.presence === "away") return "away";
  if (node.admission !== "open") return node.admission;
  return vm !== undefined && node.lastSeenAt === null ? "booting" : "ready";
}

/** A node that is made now would not have it. */
function waitsForVolume({ nodeId, desired, problem }: ProcessRow): boolean {
  return nodeId === null && desired === "running" && problem?.code.startsWith("VOLUME_") === true;
}

/** @param atHorizon processes that level 1 expects by the time a new node could have joined */
export function readSubscriptions(
  partition: string,
  fleet: Fleet,
  atHorizon: (subscription: SubscriptionRow, desired: number) => number,
): readonly SubscriptionView[] {
  const overQuota = countOverQuota(fleet.snapshot);
  return fleet.snapshot.subscriptions.flatMap((subscription): readonly SubscriptionView[] => {
    const need = fleet.needs.get(subscription.id);
    if (subscription.partition !== partition || need === undefined) return [];
    // No room is rented for what must not be placed.
    const { id: subscriptionId, generation } = subscription;
    if (fleet.snapshot.refusalOf({ subscriptionId, generation }) !== undefined) return [];
    const waiting = fleet.snapshot.processes.get(subscriptionId)?.filter(waitsForVolume).length;
    const desired =
      fleet.snapshot.count(subscription) - (overQuota.get(subscriptionId) ?? 0) - (waiting ?? 0);
    return [
      {
        name: nameOf(subscription),
        size: sizeOf(need.limits),
        hostPorts: need.hostPorts,
        ...(need.rule === undefined ? {} : { rule: need.rule }),
        desired,
        atHorizon: atHorizon(subscription, desired),
      },
    ];
  });
}
