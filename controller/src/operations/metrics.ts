import { metricKey, type ScalingPolicy } from "@strata/protocol/api/autoscale";
import type { MetricsInput, MetricsTaken } from "@strata/protocol/api/decisions";
import type { z } from "zod";

import type { Reading } from "../domain/autoscale/l1/model.ts";
import { ControllerError } from "../errors.ts";
import { keepReadings, listReadings, saveReading } from "../store/readings.ts";
import { readScalingPolicy } from "../store/scaling-policies.ts";
import { getSubscription } from "../store/subscriptions.ts";
import type { Unit } from "../store/unit.ts";
import type { SubscriptionKey } from "./subscriptions.ts";
import { requireFound } from "./upsert.ts";

export type TakeMetrics = SubscriptionKey & { readonly input: z.output<typeof MetricsInput> };

/** Writes down the newest value of each metric. A sample from the future counts as of now: the clocks of those who
 * post may be wrong.
 * @throws ControllerError NOT_FOUND, METRIC_UNKNOWN */
export function takeMetrics(
  unit: Unit,
  { input, ...key }: TakeMetrics,
): { readonly subscriptionId: string; readonly taken: MetricsTaken } {
  const found = getSubscription(unit.sql, key);
  const row = requireFound(found?.deletedAt === null ? found : undefined, {
    kind: "subscription",
    name: key.alias,
  });
  const known = customNames(readScalingPolicy(unit.sql, row.scalingPolicy));
  const samples = [
    ...input.samples,
    ...Object.entries(input.metrics).map(([name, value]) => ({ name, value, at: undefined })),
  ];
  const names = [...new Set(samples.map(({ name }) => name))];
  requireKnown(names, { known, policy: row.scalingPolicy });
  const newest = new Map<string, Reading>(
    (listReadings(unit.sql, [row.id]).get(row.id) ?? []).map((one) => [one.metric, one]),
  );
  for (const { name, value, at } of samples) {
    const metric = keyOf(name);
    const time = Math.min(unit.nowMs, at === undefined ? unit.nowMs : Date.parse(at));
    // Equal times: who comes last is right.
    if (time >= (newest.get(metric)?.at ?? -Infinity))
      newest.set(metric, { metric, value, at: time });
  }
  keepReadings(unit.sql, row.id, known.map(keyOf));
  const readings = names.flatMap((name) => {
    const reading = newest.get(keyOf(name));
    return reading === undefined ? [] : [{ name, reading }];
  });
  for (const { reading } of readings) saveReading(unit.sql, row.id, reading);
  return {
    subscriptionId: row.id,
    taken: {
      items: readings.map(({ name, reading: { value, at } }) => ({
        name,
        value,
        at: new Date(at).toISOString(),
      })),
    },
  };
}

function keyOf(name: string): string {
  return `custom/${name}`;
}

function customNames(policy: ScalingPolicy | undefined): readonly string[] {
  return (policy?.metrics ?? []).flatMap((metric) =>
    metric.kind === "custom" && metricKey(metric) === keyOf(metric.name) ? [metric.name] : [],
  );
}

/** A name that no policy asks for is a slip of the pen, and better told at once. */
function requireKnown(
  names: readonly string[],
  { known, policy }: { readonly known: readonly string[]; readonly policy: string | null },
): void {
  const unknown = names.find((name) => !known.includes(name));
  if (unknown === undefined) return;
  const asked =
    policy === null
      ? "the subscription has no scaling policy"
      : known.length === 0
        ? `scaling policy ${policy} has no custom metric`
        : `scaling policy ${policy} knows ${known.join(", ")}`;
  throw new ControllerError("METRIC_UNKNOWN", `nothing asks for a metric ${unknown}: ${asked}`, {
    hint: `add { "kind": "custom", "name": "${unknown}", "target": … } to its scaling policy, or correct the name`,
  });
}
