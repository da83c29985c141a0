import type { Exit } from "@strata/protocol/agent/messages";

/** How often a process has ended by itself in a row. Zero once it has been well for long enough. */
export type CrashHistory = { readonly failures: number };

export const noCrashes: CrashHistory = { failures: 0 };

const IMMEDIATE_RESTARTS = 3;
const FIRST_DELAY_MS = 30_000;
const DELAY_MS_MAX = 16 * 60_000;
/** A run of this length clears what was before it. */
const HEALTHY_MS = 10 * 60_000;

export type Restart = { readonly history: CrashHistory; readonly delayMs: number };

/** Says how long to wait before the next start of a process that ran for `ranMs` and ended without being told to:
 * three times at once, then 30 s, doubling up to 16 min. Never gives up. Pure. */
export function planRestart({ failures }: CrashHistory, ranMs: number): Restart {
  const count = (ranMs >= HEALTHY_MS ? 0 : failures) + 1;
  // The exponent is bounded before the power is taken, so any count is fine.
  const doublings = Math.min(Math.max(0, count - IMMEDIATE_RESTARTS - 1), 16);
  const delayMs = count <= IMMEDIATE_RESTARTS ? 0 : FIRST_DELAY_MS * 2 ** doublings;
  return { history: { failures: count }, delayMs: Math.min(delayMs, DELAY_MS_MAX) };
}

/** What people are told of a run that ended by itself, or that its probes had ended. Pure. */
export function describeCrash(
  { code, reason, problem }: Exit,
  delayMs: number,
): { readonly code: string; readonly message: string } {
  const how = problem?.message ?? `ended with ${code} (${reason})`;
  return {
    code: problem?.code ?? "CRASHED",
    message: `${how}, starts again in ${delayMs / 1000} s`,
  };
}

/** A wait that began at `fromMs` of the host's clock. */
export type Pause = { readonly fromMs: number; readonly ms: number };

/** When it is over: now, when the clock was set back past its beginning, for then nobody knows how long it has been and
 * nothing may wait for hours or years. Pure. */
export function endOfPause(pause: Pause | undefined, nowMs: number): number {
  if (pause === undefined) return 0;
  return nowMs < pause.fromMs ? nowMs : pause.fromMs + pause.ms;
}
