/** What level 1 is told, remembers and answers. All of it is JSON, so that it can be stored, shown and replayed.
 * Times are milliseconds since 1970 on the controller's clock. */
import type { ScalingPolicy } from "@strata/protocol/api/autoscale";

export type { ScalingPolicy };

/** One sample of one process, as `admitSamples` lets it in. */
export type Sample = {
  /** Grows with every sample of this process; a late or repeated one is not admitted. */
  readonly sequence: number;
  readonly at: number;
  readonly ready: boolean;
  /** By metric key: `cpu` and `memory` in per cent of the limit, `in-flight`, `requests` per second. */
  readonly values: Readonly<Record<string, number>>;
};

/** A process that exists and is not on its way out, of whichever generation. */
export type ProcessView = {
  readonly id: string;
  readonly ready: boolean;
  /** When it became ready for the first time; null before. */
  readonly firstReadyAt: number | null;
  readonly sample: Sample | null;
};

/** A total for the whole subscription: a custom or Prometheus metric, or what the ingress counts. */
export type Reading = { readonly metric: string; readonly value: number; readonly at: number };

/** Everything outside the policy and the state that one decision depends on. */
export type History = {
  /** How many processes are wished for now. */
  readonly current: number;
  /** Processes that are ready, of whichever generation, without those that drain. */
  readonly ready: number;
  /** The same with those that are not ready yet, whether they have a place or not. */
  readonly live: number;
  /** Processes that are draining because of an earlier decision. */
  readonly draining: number;
  /** The live ones, for metrics that are sampled process by process; others do without. */
  readonly processes: readonly ProcessView[];
  /** Wins over the samples of the same metric. */
  readonly readings: readonly Reading[];
  /** By metric key: what `seasonalLoads` found for now. */
  readonly seasonal: Readonly<Record<string, number>>;
  /** Measured 90th percentile of decision → ready for the cartridge, where a node had room: waiting for a node is
   * what level 2 looks ahead for. Null until measured. */
  readonly startP90Ms: number | null;
  /** The subscription's own warm-up; null for the policy's. */
  readonly warmUpMs: number | null;
  /** A roll-out is under way. */
  readonly rollingOut: boolean;
  /** A request waits for a process, and there is none. */
  readonly requested?: boolean;
};

/** What one sampling interval saw of one metric. */
export type Point = {
  readonly at: number;
  /** Over processes that are ready, warmed up and fresh. */
  readonly sum: number;
  /** Wished-for processes that `sum` says nothing of. */
  readonly missing: number;
};

/** What a window says about the load's way: enough to look ahead to any horizon. */
export type Trend = {
  /** Middle of the window: the time at which the load was `average`. */
  readonly at: number;
  /** Per second. */
  readonly slope: number;
  /** Share of the pairs of points that rise, 0 to 1: how much the slope is to be believed. */
  readonly rising: number;
  readonly average: number;
  readonly highest: number;
};

/** A recommendation that held from `from` to `until`: kept as runs, since most repeat. */
export type Recommendation = {
  readonly count: number;
  readonly from: number;
  readonly until: number;
};

export type PendingAction = {
  readonly kind: "grow" | "shrink";
  readonly to: number;
  readonly since: number;
};

/** How far off the seasonal forecast was in one hour. Load is in the metric's unit. */
export type ForecastError = {
  readonly metric: string;
  readonly hour: number;
  readonly samples: number;
  readonly actual: number;
  readonly absoluteError: number;
};

/** All that level 1 carries from one decision to the next. Store it in the transaction of the decision. */
export type L1State = {
  readonly version: 1;
  readonly series: Readonly<Record<string, readonly Point[]>>;
  /** Like `series`, but coarser and over a longer time: minutes cannot be foreseen out of seconds. */
  readonly past: Readonly<Record<string, readonly Point[]>>;
  /** Of `past`; level 2 looks ahead with them. */
  readonly trends: Readonly<Record<string, Trend>>;
  readonly failures: Readonly<Record<string, { readonly count: number; readonly at: number }>>;
  /** Last time that the panic condition held. */
  readonly panicAt: number | null;
  readonly idleSince: number | null;
  readonly recommendations: readonly Recommendation[];
  readonly changes: readonly { readonly at: number; readonly delta: number }[];
  readonly pending: PendingAction | null;
  readonly pausedUntil: number | null;
  /** Positions in the policy of the schedules that were active. */
  readonly activeSchedules: readonly number[];
  readonly forecastErrors: readonly ForecastError[];
};

/** What kept the count from being what the load alone asked for. */
export type Limiter =
  | "metric-failed"
  | "stabilisation"
  | "panic"
  | "rollout"
  | "activation"
  | "pending-grow"
  | "pending-shrink"
  | "grow-rate"
  | "shrink-rate"
  | "min"
  | "max"
  | "paused";

export type Limit = { readonly limiter: Limiter; readonly from: number; readonly to: number };

export type MetricTrace = {
  readonly metric: string;
  readonly target: number;
  /** Total in this interval; null when nothing fresh is known. */
  readonly load: number | null;
  /** Average totals of the two windows, with missing processes counted as 0. */
  readonly stableLoad: number;
  readonly panicLoad: number;
  readonly missing: number;
  readonly need: number;
  readonly panicNeed: number;
  /** Per second; null where there are too few points. */
  readonly slope: number | null;
  readonly forecastLoad: number | null;
  readonly forecastNeed: number | null;
  readonly seasonalLoad: number | null;
  /** Failures in a row; 0 when it works. */
  readonly failures: number;
  readonly fallback: boolean;
};

/** Where the raw count came from. */
export type Source =
  | { readonly kind: "metric" | "forecast" | "seasonal" | "panic"; readonly metric: string }
  | { readonly kind: "hand" | "schedule" | "wake" };

export type L1Trace = {
  readonly at: number;
  readonly current: number;
  readonly ready: number;
  readonly bounds: {
    readonly min: number;
    readonly max: number;
    readonly schedules: readonly number[];
  };
  readonly metrics: readonly MetricTrace[];
  readonly horizonMs: number;
  readonly panicking: boolean;
  readonly floor: number | null;
  readonly raw: number;
  readonly source: Source;
  /** Those that changed the count, in the order in which they did. */
  readonly limits: readonly Limit[];
};

export type L1Decision = {
  readonly desired: number;
  /** One sentence for people. */
  readonly reason: string;
  readonly trace: L1Trace;
  readonly state: L1State;
  /** The last limiter that bound; null when none did. */
  readonly limiter: Limiter | null;
  /** `dryRun` policies decide, and nothing acts. */
  readonly act: boolean;
};

export const INITIAL_L1_STATE: L1State = {
  version: 1,
  series: {},
  past: {},
  trends: {},
  failures: {},
  panicAt: null,
  idleSince: null,
  recommendations: [],
  changes: [],
  pending: null,
  pausedUntil: null,
  activeSchedules: [],
  forecastErrors: [],
};
