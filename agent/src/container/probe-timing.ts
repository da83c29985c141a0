/** When the next question of a probe is due. Pure. */
import type { Probe } from "@strata/protocol/agent/probes";

/** Until the first success a probe comes this soon, then half as soon again each time up to its interval. To start a
 * program costs more than to open a connection. */
const firstWaitsMs: Readonly<Record<Probe["kind"], number>> = { http: 25, tcp: 25, exec: 200 };
const GROWTH = 1.5;
/** Questions of hundreds of processes come together this often at most: each time wakes the agent. */
const GRID_MS = 100;
/** The golden ratio's: any number of processes in a row are spread evenly by it. */
const SPREAD = 0.618_034;
/** A wait that is shorter than this share of the interval is a timer that was early. */
const EARLY = 0.1;

/** The wait before the next question of a probe that has not succeeded yet. */
export function growWait(beforeMs: number | undefined, { kind, intervalMs }: Probe): number {
  const waitMs = beforeMs === undefined ? firstWaitsMs[kind] : beforeMs * GROWTH;
  return Math.min(intervalMs, waitMs);
}

/** The wait until the probe's next turn: once in its interval, at a time of its own in it. `turn` numbers all probes of
 * a node, so that after a restart of the agent not all of them are asked at the same moment for ever. */
export function waitForTurn(
  { intervalMs }: Pick<Probe, "intervalMs">,
  { nowMs, turn }: { readonly nowMs: number; readonly turn: number },
): number {
  const share = (turn * SPREAD) % 1;
  const grid = Math.min(GRID_MS, intervalMs);
  const phaseMs = Math.floor((share * intervalMs) / grid) * grid;
  const sinceMs = (((nowMs - phaseMs) % intervalMs) + intervalMs) % intervalMs;
  const waitMs = intervalMs - sinceMs;
  return waitMs < intervalMs * EARLY ? waitMs + intervalMs : waitMs;
}
