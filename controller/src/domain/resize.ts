/** Which processes take over new limits where they run, instead of being replaced. Pure. */
import type { Capacity, Limits, ProcessSpec } from "@strata/protocol/agent/messages";

import { isSame } from "./canonical.ts";
import { sizeOf } from "./schedule.ts";

/** True when nothing but limits changed from the first of these generations to the last. They follow on each other
 * without a gap; two in a row that are the same are a restart, or a move, that somebody asked for. */
export function differInLimitsAlone(specs: readonly ProcessSpec[]): boolean {
  const first = specs[0];
  const last = specs.at(-1);
  if (first === undefined || last === undefined || specs.length < 2) return false;
  const isRestart = specs.some((spec, index) => index > 0 && isSame(spec, specs[index - 1]));
  return !isRestart && isSame({ ...first, limits: null }, { ...last, limits: null });
}

export type ResizeWish = {
  readonly processId: string;
  readonly nodeId: string;
  readonly from: Limits;
  readonly to: Limits;
};

/** What a node may still promise, and the most processors that one process can have on it. */
export type Room = { readonly free: Capacity; readonly cpuMillisEach: number };

/** Those whose nodes have room for all of them together, first come first served. What one gives back counts for nobody
 * here: its node may refuse to take it away as long as it is in use. */
export function planResizes(
  wishes: readonly ResizeWish[],
  rooms: ReadonlyMap<string, Room>,
): ReadonlySet<string> {
  const left = new Map([...rooms].map(([nodeId, { free }]) => [nodeId, free]));
  const granted = new Set<string>();
  for (const { processId, nodeId, from, to } of wishes) {
    const free = left.get(nodeId);
    const room = rooms.get(nodeId);
    if (free === undefined || room === undefined || to.cpuMaxMillis > room.cpuMillisEach) continue;
    const growth = growthOf(sizeOf(from), sizeOf(to));
    if (!fits(growth, free)) continue;
    granted.add(processId);
    left.set(nodeId, {
      cpuMillis: free.cpuMillis - growth.cpuMillis,
      memoryBytes: free.memoryBytes - growth.memoryBytes,
      pids: free.pids - growth.pids,
    });
  }
  return granted;
}

function growthOf(from: Capacity, to: Capacity): Capacity {
  return {
    cpuMillis: Math.max(0, to.cpuMillis - from.cpuMillis),
    memoryBytes: Math.max(0, to.memoryBytes - from.memoryBytes),
    pids: Math.max(0, to.pids - from.pids),
  };
}

/** What does not grow needs no room, even on a node that has promised too much. */
function fits(growth: Capacity, free: Capacity): boolean {
  return (
    (growth.cpuMillis === 0 || growth.cpuMillis <= free.cpuMillis) &&
    (growth.memoryBytes === 0 || growth.memoryBytes <= free.memoryBytes) &&
    (growth.pids === 0 || growth.pids <= free.pids)
  );
}
