/** The life of a VM, and what is measured of it. Pure. */
import type { VmState } from "@strata/protocol/api/providers";

/** The legal moves. A VM may report before its provider has answered. */
const moves: Readonly<Record<VmState, readonly VmState[]>> = {
  launching: ["booting", "joined", "deleting"],
  booting: ["joined", "deleting"],
  joined: ["deleting"],
  deleting: [],
};

export function canMove(from: VmState, to: VmState): boolean {
  return moves[from].includes(to);
}

/** Measurements that a percentile looks back on. */
const MEASURED_MAX = 50;

/** The newest measurements, the last one at the end. */
export function withMeasurement(values: readonly number[], value: number): readonly number[] {
  return [...values, Math.max(0, value)].slice(-MEASURED_MAX);
}
