/** Level 1's forecast, taken at the time by which a node that is asked for now could serve. */
import type { PartitionPolicy } from "@strata/protocol/api/autoscale";

import { processesAtHorizon } from "../domain/autoscale/l1/horizon.ts";
import { seasonalSlot } from "../domain/autoscale/l1/seasonal.ts";
import { percentile } from "../domain/autoscale/statistics.ts";
import { isAutoscaled } from "../domain/scaling.ts";
import { lookUp, NOTHING_USUAL, type Usual } from "../domain/simulate/season.ts";
import type { Sql } from "../store/database.ts";
import { NEW_SCALER, readScalers, readSeasonal } from "../store/scalers.ts";
import { readScalingPolicy } from "../store/scaling-policies.ts";
import type { SubscriptionRow } from "../store/subscriptions.ts";

const P90 = 0.9;

export type Forecast = (subscription: SubscriptionRow, desired: number) => number;

/** What is usual is looked up once in every slot of the season. */
export function createForecasts(): (
  sql: Sql,
  options: {
    readonly policy: PartitionPolicy;
    readonly bootTimes: readonly number[];
    readonly subscriptions: readonly SubscriptionRow[];
    readonly now: number;
  },
) => Forecast {
  const usual = new Map<string, Usual>();
  return (sql, { policy: { forecast }, bootTimes, subscriptions, now }) => {
    const scaled = subscriptions.filter(({ scalingPolicy }) => scalingPolicy !== null);
    if (!forecast.enabled || scaled.length === 0) return (_subscription, desired) => desired;
    const scalers = readScalers(
      sql,
      scaled.map(({ id }) => id),
    );
    const bootMs = percentile(bootTimes, P90) ?? forecast.horizon;
    return ({ id, scalingPolicy }, desired) => {
      const policy = readScalingPolicy(sql, scalingPolicy);
      if (policy === undefined || !isAutoscaled(policy)) return desired;
      const { state, startTimes } = scalers.get(id) ?? NEW_SCALER;
      const horizonMs = bootMs + (percentile(startTimes, P90) ?? 0);
      const known = usual.get(id) ?? NOTHING_USUAL;
      const at = now + horizonMs;
      const current =
        known.slot === seasonalSlot(at) || policy.seasonal.mode !== "scale"
          ? known
          : lookUp(known, { history: readSeasonal(sql, id), seasonal: policy.seasonal, at });
      usual.set(id, current);
      return processesAtHorizon({
        policy,
        state,
        current: desired,
        seasonal: current.loads,
        horizonMs,
        now,
      });
    };
  };
}
