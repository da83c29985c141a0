/** What happens to the rows of VMs. A row is there before its provider hears of the VM and goes after the provider has
 * said that there is none: so a crash at any point leaves something to go on from. */
import type { Capacity } from "@strata/protocol/agent/messages";
import type { PartitionPolicy } from "@strata/protocol/api/autoscale";

import { INITIAL_L2_STATE, type L2State } from "../domain/autoscale/l2/model.ts";
import { providerFailed, providerWorked } from "../domain/autoscale/l2/offers.ts";
import type { Problem } from "../domain/process.ts";
import { canMove, withMeasurement } from "../domain/vm.ts";
import type { NodeRow } from "../store/nodes.ts";
import {
  getPartitionScaler,
  type PartitionScalerRow,
  savePartitionScaler,
} from "../store/partition-scalers.ts";
import { getPartition, getPartitionPolicy, parsePartitionPolicy } from "../store/partitions.ts";
import { deleteJoinToken } from "../store/tokens.ts";
import type { Unit } from "../store/unit.ts";
import { getVm, getVmOfNode, insertVm, updateVm, type VmRow } from "../store/vms.ts";
import { insertNewJoinToken, type JoinAuthority } from "./tokens.ts";

export type VmOrder = {
  readonly partition: string;
  readonly provider: string;
  readonly flavor: string;
  readonly offer: string;
  readonly zone: string | null;
  readonly capacity: Capacity;
  /** Until then it may join. */
  readonly joinTimeoutMs: number;
  readonly authority: JoinAuthority;
};

/** Long enough for a name that people recognise, short enough for a client token with its random end. */
const NAME_LENGTH_MAX = 31;

/** Writes down the wish for a VM. Its token of one use ties the node that joins with it to the VM. */
export function requestVm(unit: Unit, order: VmOrder): VmRow {
  const { joinTimeoutMs, authority, ...fields } = order;
  const token = insertNewJoinToken(unit, {
    partition: order.partition,
    uses: 1,
    lifetimeMs: joinTimeoutMs,
    authority,
  });
  const row: VmRow = {
    ...fields,
    id: `${order.partition.slice(0, NAME_LENGTH_MAX)}-${unit.newId()}`,
    state: "launching",
    providerVmId: null,
    joinTokenId: token.id,
    nodeId: null,
    requestedAt: unit.now,
    joinedAt: null,
    deleteReason: null,
    problem: null,
  };
  insertVm(unit.sql, row);
  unit.emit({
    type: "vm.requested",
    subject: row.id,
    message: `a VM ${row.offer} is requested for partition ${row.partition}`,
    data: { partition: row.partition, provider: row.provider, flavor: row.flavor },
  });
  return row;
}

/** The provider has taken the VM on. */
export function noteVmMade(unit: Unit, id: string, providerVmId: string): void {
  const row = getVm(unit.sql, id);
  if (row === undefined) return;
  const isBooting = canMove(row.state, "booting");
  updateVm(unit.sql, id, { providerVmId, ...(isBooting ? { state: "booting" } : {}) });
  if (!isBooting) return;
  unit.emit({
    type: "vm.booting",
    subject: id,
    message: `provider ${row.provider} makes VM ${id}`,
    data: { partition: row.partition, providerVmId },
  });
}

/** It will never run: it is deleted, if there is anything of it, and its provider is left alone for a while. */
export function failVm(unit: Unit, id: string, problem: Problem): void {
  const row = getVm(unit.sql, id);
  if (row === undefined || !canMove(row.state, "deleting")) return;
  orderVmDeletion(unit, row, "failed");
  updateVm(unit.sql, id, { problem });
  unit.emit({
    type: "vm.failed",
    subject: id,
    message: `VM ${id} could not be made: ${problem.message}`,
    data: { partition: row.partition, provider: row.provider, code: problem.code },
  });
  backOff(unit, row, problem);
}

/** Many VMs that fail together are one failure. */
function backOff(unit: Unit, { partition, provider }: VmRow, problem: Problem): void {
  const policy = policyOf(unit, partition);
  const { state } = scalerOf(unit, partition);
  if (policy === undefined || (state.backOff[provider]?.until ?? 0) > unit.nowMs) return;
  const next = providerFailed(state, provider, { policy, now: unit.nowMs });
  saveScaler(unit, partition, { state: next });
  const until = new Date(next.backOff[provider]?.until ?? unit.nowMs).toISOString();
  unit.emit({
    type: "provider.failed",
    subject: provider,
    message: `provider ${provider} failed and is left alone until ${until}: ${problem.message}`,
    data: { partition, code: problem.code, until },
  });
}

/** From now on its provider is asked to delete it, until it says that there is none. Nobody joins with its token. */
export function orderVmDeletion(unit: Unit, row: VmRow, why: string): void {
  if (!canMove(row.state, "deleting")) return;
  updateVm(unit.sql, row.id, { state: "deleting", deleteReason: why });
  deleteJoinToken(unit.sql, row.joinTokenId);
  unit.emit({
    type: "vm.deleting",
    subject: row.id,
    message: `VM ${row.id} is deleted: ${why}`,
    data: { partition: row.partition, nodeId: row.nodeId, why },
  });
}

/** The first report of a node: from here on its VM counts as one that works. */
export function noteFirstReport(unit: Unit, node: NodeRow): void {
  const row = getVmOfNode(unit.sql, node.id);
  if (row === undefined || !canMove(row.state, "joined")) return;
  const bootMs = unit.nowMs - Date.parse(row.requestedAt);
  updateVm(unit.sql, row.id, { state: "joined", joinedAt: unit.now });
  deleteJoinToken(unit.sql, row.joinTokenId);
  const { state, bootTimes } = scalerOf(unit, row.partition);
  saveScaler(unit, row.partition, {
    state: providerWorked(state, row.provider),
    bootTimes: withMeasurement(bootTimes, bootMs),
  });
  unit.emit({
    type: "vm.joined",
    subject: row.id,
    message: `VM ${row.id} works as node ${node.name}, ${Math.round(bootMs / 1000)} s after it was requested`,
    data: { partition: row.partition, nodeId: node.id, bootMs },
  });
}

/** What level 2 carries on of the partition. */
export function scalerOf(
  { sql, now }: Pick<Unit, "sql" | "now">,
  partition: string,
): PartitionScalerRow {
  return (
    getPartitionScaler(sql, partition) ?? {
      partition,
      state: INITIAL_L2_STATE,
      bootTimes: [],
      updatedAt: now,
    }
  );
}

export function saveScaler(
  unit: Unit,
  partition: string,
  change: { readonly state?: L2State; readonly bootTimes?: readonly number[] },
): void {
  savePartitionScaler(unit.sql, { ...scalerOf(unit, partition), ...change, updatedAt: unit.now });
}

function policyOf({ sql }: Unit, partition: string): PartitionPolicy | undefined {
  const name = getPartition(sql, partition)?.policy ?? null;
  const row = name === null ? undefined : getPartitionPolicy(sql, name);
  return row === undefined ? undefined : parsePartitionPolicy(row);
}
