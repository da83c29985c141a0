/** What a bench is: one file of this folder that exports `bench`. */

export type Bench = {
  readonly name: string;
  /** One line: what is measured, against whom. */
  readonly summary: string;
  /** How often each contestant is measured unless the caller says otherwise. */
  readonly rounds: number;
  readonly run: (context: BenchContext) => Promise<BenchReport>;
};

export type BenchContext = {
  readonly rounds: number;
  /** Tells a person how far it is; never on standard output. */
  readonly say: (line: string) => void;
  /** A folder that is gone after the run. */
  readonly folder: string;
};

export type BenchReport = {
  readonly results: readonly Result[];
  readonly goals: readonly Goal[];
};

/** One thing measured for all contestants. Figures are medians; `n`, `min` and `max` tell how far to trust them. */
export type Result = {
  readonly what: string;
  readonly unit: string;
  readonly ours: number;
  readonly peers: Readonly<Record<string, number>>;
  /** Ours divided by the first peer's; null without a peer. */
  readonly ratio: number | null;
  readonly n: number;
  /** By contestant: `ours` and the peers' names. */
  readonly min: Readonly<Record<string, number>>;
  readonly max: Readonly<Record<string, number>>;
};

export type Goal = {
  readonly what: string;
  /** In words: `at most 0.25 x podman`. */
  readonly goal: string;
  readonly value: number;
  readonly met: boolean;
};

/** Measures itself once a round; gives the figure. The first of a list is ours, the second is the ratio's peer. */
export type Contestant = {
  readonly name: string;
  readonly measure: (round: number) => Promise<number>;
};

/** Samples of each contestant, by name. */
export type Samples = ReadonlyMap<string, readonly number[]>;
