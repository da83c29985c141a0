/** Rule 8, second half: the way to zero and back. */
import type { Raw } from "./combine.ts";
import type { Measurement, Situation } from "./measure.ts";

export type Activity = {
  /** All activation metrics are known and at or below their thresholds since then; null when one is not. */
  readonly idleSince: number | null;
  /** One of them is known to be above. */
  readonly wanted: boolean;
};

export function activityOf(
  measurements: readonly Measurement[],
  { state: { idleSince }, history: { requested = false }, now }: Situation,
): Activity {
  const loads = measurements.flatMap(({ metric, point }) =>
    "activation" in metric ? [{ threshold: metric.activation, load: point?.sum ?? null }] : [],
  );
  const idle =
    loads.length > 0 && loads.every(({ load, threshold }) => load !== null && load <= threshold);
  return {
    idleSince: idle && !requested ? (idleSince ?? now) : null,
    wanted: requested || loads.some(({ load, threshold }) => load !== null && load > threshold),
  };
}

/** Does the load ask for no process at all? What lies below the thresholds is no load, but a need for more than one
 * process, or a season that is known to come, counts until the subscription has been idle for long enough. */
export function asksForZero(
  activity: Activity,
  { count, source }: Raw,
  situation: Situation,
): boolean {
  if (activity.idleSince === null || source.kind === "seasonal") return false;
  return count <= 1 || hasBeenIdle(activity, situation);
}

/** At least one process must be there: there is work, or the last one may not go yet. */
export function staysAwake(activity: Activity, situation: Situation): boolean {
  if (activity.wanted) return true;
  // Without a metric that says what idle is, nothing but the bounds decides about zero.
  if (!situation.policy.metrics.some((metric) => "activation" in metric)) return false;
  return situation.history.current > 0 && !hasBeenIdle(activity, situation);
}

function hasBeenIdle({ idleSince }: Activity, { policy, now }: Situation): boolean {
  return idleSince !== null && now - idleSince >= policy.idleAfter;
}
