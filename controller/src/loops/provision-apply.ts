/** Writes a decision of level 2 down: all of it in one transaction, or nothing. */
import type { PartitionPolicy } from "@strata/protocol/api/autoscale";

import type { L2Action, L2Decision } from "../domain/autoscale/l2/model.ts";
import { admitNode } from "../operations/nodes.ts";
import type { JoinAuthority } from "../operations/tokens.ts";
import { orderVmDeletion, requestVm, saveScaler } from "../operations/vms.ts";
import { getNode } from "../store/nodes.ts";
import { insertPartitionDecision, latestPartitionDecision } from "../store/partition-scalers.ts";
import type { Store, Unit } from "../store/unit.ts";
import { getVm } from "../store/vms.ts";
import type { FleetOffer } from "./provision-view.ts";

export type Decided = {
  readonly partition: string;
  readonly policy: PartitionPolicy;
  readonly offers: readonly FleetOffer[];
  readonly decision: L2Decision;
  /** It does nothing and remembers nothing new. */
  readonly isQuiet: boolean;
  readonly authority: JoinAuthority;
};

/** True when nodes or VMs were changed. */
export function applyDecision(store: Store, decided: Decided): boolean {
  const { partition, decision, isQuiet } = decided;
  const isNews = latestPartitionDecision(store.sql, partition)?.reason !== decision.reason;
  if (isQuiet && !isNews) return false;
  store.write((unit) => {
    saveScaler(unit, partition, { state: decision.state });
    for (const action of decision.actions) applyAction(unit, decided, action);
    if (isNews || decision.actions.length > 0) record(unit, decided);
  });
  return decision.actions.length > 0;
}

function record(unit: Unit, { partition, decision }: Decided): void {
  const { desired, reason, actions, trace } = decision;
  insertPartitionDecision(unit.sql, { partition, at: unit.nowMs, desired, reason, actions, trace });
  if (actions.length === 0) return;
  unit.emit({
    type: "partition.scaled",
    subject: partition,
    message: `partition ${partition}: ${reason}`,
    data: { desired, actions },
  });
}

function applyAction(unit: Unit, decided: Decided, action: L2Action): void {
  if (action.kind === "add") {
    addVms(unit, decided, action);
    return;
  }
  const vm = getVm(unit.sql, action.nodeId);
  // A node that joined by itself has its own id; the scaler never drains or deletes one.
  const nodeId = vm === undefined ? action.nodeId : vm.nodeId;
  const node = nodeId === null ? undefined : getNode(unit.sql, nodeId);
  switch (action.kind) {
    case "drain":
      if (node !== undefined) admitNode(unit, node.id, { admission: "draining", by: "scaler" });
      return;
    case "cancel-drain":
      if (node !== undefined) admitNode(unit, node.id, { admission: "open", by: "scaler" });
      return;
    case "delete":
      // Nothing new is placed on it while its provider deletes it.
      if (node !== undefined) admitNode(unit, node.id, { admission: "draining", by: "scaler" });
      if (vm !== undefined) orderVmDeletion(unit, vm, action.why);
      return;
    default:
      action satisfies never;
  }
}

function addVms(
  unit: Unit,
  { partition, policy, offers, authority }: Decided,
  action: Extract<L2Action, { readonly kind: "add" }>,
): void {
  const offer = offers.find(({ key }) => key === action.offer);
  if (offer === undefined) return;
  for (let made = 0; made < action.count; made += 1) {
    requestVm(unit, {
      partition,
      provider: offer.provider,
      flavor: offer.flavor,
      offer: offer.key,
      zone: offer.zone,
      capacity: offer.reported,
      joinTimeoutMs: policy.joinTimeout,
      authority,
    });
  }
}
