/** How long a process that is well and no longer wanted goes on serving before it is told to stop. Pure. */
import type { DrainPolicy } from "@strata/protocol/api/drain";

export type DrainTerms = {
  /** So long at least: who read of it a moment ago may still come. */
  readonly noticeMs: number;
  /** So long at most, whatever is in flight; 0 is at once. */
  readonly maxMs: number;
};

/** Where neither subscription nor scaling policy says anything. */
const NOTICE_MS = 2000;
const DRAIN_MS = 30_000;

export const atOnce: DrainTerms = { noticeMs: 0, maxMs: 0 };

/** What the subscription says goes before what its scaling policy says. */
export function drainTerms(
  drain: DrainPolicy | null,
  policy: { readonly drainMax: number } | undefined,
): DrainTerms {
  // A short `max` shortens a notice that nobody asked for; a policy's does not.
  const noticeMs = drain?.notice ?? Math.min(NOTICE_MS, drain?.max ?? NOTICE_MS);
  return { noticeMs, maxMs: Math.max(noticeMs, drain?.max ?? policy?.drainMax ?? DRAIN_MS) };
}

/** The end of a notice that was given until `noticeUntil`, maybe by a controller before this one: while none ran, nobody
 * could hear of it. */
export function endOfNotice(
  noticeUntil: number,
  { startedMs, noticeMs }: { readonly startedMs: number; readonly noticeMs: number },
): number {
  return Math.max(noticeUntil, startedMs + noticeMs);
}

/** What is known of a process that drains. Times are milliseconds since 1970. */
export type Draining = {
  readonly deadline: number;
  readonly noticeUntil: number;
  /** Every ingress has said that it sends it nothing, and waits for nothing from it. */
  readonly isReleased: boolean;
  /** The newest count of its connections; undefined where nobody counts them. */
  readonly counted: { readonly at: number; readonly inFlight: number } | undefined;
};

/** Whether it may be told to stop. A count from before the end of the notice says nothing of who came since. */
export function isDrained(one: Draining, nowMs: number): boolean {
  if (nowMs < one.noticeUntil) return false;
  if (nowMs >= one.deadline) return true;
  if (!one.isReleased) return false;
  const { counted } = one;
  return counted === undefined || (counted.at >= one.noticeUntil && counted.inFlight === 0);
}
