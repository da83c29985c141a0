/** Loads over time. A curve is data; `compileCurve` makes the function. */
import { DurationMs } from "@strata/protocol/units";
import { z } from "zod";

import type { TraceSample, Traces } from "./trace.ts";

const load = z.number().min(0).max(1e12);

export const CurveInput = z.discriminatedUnion("kind", [
  z.strictObject({ kind: z.literal("step"), from: load, to: load, at: DurationMs }),
  z.strictObject({
    kind: z.literal("sine"),
    mean: load,
    amplitude: load,
    period: DurationMs.refine((ms) => ms > 0, "more than 0"),
  }),
  z.strictObject({
    kind: z.literal("square"),
    low: load,
    high: load,
    period: DurationMs.refine((ms) => ms > 0, "more than 0"),
  }),
  /** Samples by the name of their trace, joined by straight lines; repeated when the scenario is longer. */
  z.strictObject({
    kind: z.literal("trace"),
    trace: z.string().min(1).max(255),
    scale: z.number().positive().default(1),
  }),
]);
export type Curve = z.output<typeof CurveInput>;

export type LoadAt = (ms: number) => number;

/** Load at a time since the start of the scenario. */
export function compileCurve(curve: Curve, traces: Traces): LoadAt {
  switch (curve.kind) {
    case "step":
      return (ms) => (ms < curve.at ? curve.from : curve.to);
    case "sine":
      return (ms) =>
        Math.max(0, curve.mean + curve.amplitude * Math.sin((2 * Math.PI * ms) / curve.period));
    case "square":
      return (ms) => (Math.floor((2 * ms) / curve.period) % 2 === 0 ? curve.low : curve.high);
    case "trace":
      return compileTrace(traces[curve.trace] ?? [], curve.scale);
    default:
      return curve satisfies never;
  }
}

function compileTrace(samples: readonly TraceSample[], scale: number): LoadAt {
  const last = samples.at(-1);
  if (last === undefined) return () => 0;
  // The last sample lasts as long as the one before it.
  const period = last.at + (last.at - (samples.at(-2)?.at ?? last.at - 60_000));
  let hint = 0;
  return (ms) => {
    const at = ms % period;
    // Times mostly go forward, so the search begins where the last one ended.
    if ((samples[hint]?.at ?? 0) > at) hint = 0;
    while ((samples[hint + 1]?.at ?? Infinity) <= at) hint += 1;
    const before = samples[hint] ?? last;
    const after = samples[hint + 1] ?? { at: period, value: samples[0]?.value ?? before.value };
    const share = (at - before.at) / (after.at - before.at);
    return scale * (before.value + share * (after.value - before.value));
  };
}
