import type { BenchContext, Contestant, Goal, Result, Samples } from "./bench.ts";

/** Measures all contestants in every round, each round beginning with another one: what the machine does meanwhile, and
 * what one run leaves in caches, falls on all alike. One unmeasured round goes first. */
export async function interleave(
  contestants: readonly Contestant[],
  { rounds, say }: Pick<BenchContext, "rounds" | "say">,
): Promise<Samples> {
  const samples = new Map<string, number[]>(contestants.map(({ name }) => [name, []]));
  for (let round = 0; round <= rounds; round += 1) {
    const first = round % contestants.length;
    for (const contestant of [...contestants.slice(first), ...contestants.slice(0, first)]) {
      const figure = await contestant.measure(round);
      if (round > 0) samples.get(contestant.name)?.push(figure);
    }
    say(`round ${round} of ${rounds}`);
  }
  return samples;
}

/** The time in milliseconds that a piece of work takes. */
export async function timeMs(work: () => Promise<unknown>): Promise<number> {
  const startedAt = performance.now();
  await work();
  return performance.now() - startedAt;
}

/** Pure. The first name of the samples is ours. */
export function summarize(what: string, unit: string, samples: Samples): Result {
  const [oursName = "", ...peerNames] = samples.keys();
  const of = (name: string): readonly number[] => samples.get(name) ?? [];
  const labelled = (figure: (some: readonly number[]) => number): Record<string, number> =>
    Object.fromEntries(
      [...samples].map(([name, some]) => [name === oursName ? "ours" : name, round3(figure(some))]),
    );
  const ours = median(of(oursName));
  const [firstPeer] = peerNames;
  return {
    what,
    unit,
    ours: round3(ours),
    peers: Object.fromEntries(peerNames.map((name) => [name, round3(median(of(name)))])),
    ratio: firstPeer === undefined ? null : round3(ours / median(of(firstPeer))),
    n: of(oursName).length,
    min: labelled((some) => Math.min(...some)),
    max: labelled((some) => Math.max(...some)),
  };
}

/** A goal of the form: ours is at most `factor` times the peer's. */
export function goalAtMost(result: Result, peer: string, factor: number): Goal {
  const value = round3(result.ours / (result.peers[peer] ?? Number.NaN));
  const goal = `at most ${factor} x ${peer}`;
  return { what: result.what, goal, value, met: value <= factor };
}

/** A goal of the form: ours is at least `factor` times the peer's. */
export function goalAtLeast(result: Result, peer: string, factor: number): Goal {
  const value = round3(result.ours / (result.peers[peer] ?? Number.NaN));
  const goal = `at least ${factor} x ${peer}`;
  return { what: result.what, goal, value, met: value >= factor };
}

/** A goal that no peer has a part in: ours is at most so much, in the unit of the result. */
export function goalBound(result: Result, bound: number): Goal {
  const goal = `at most ${bound} ${result.unit}`;
  return { what: result.what, goal, value: result.ours, met: result.ours <= bound };
}

/** As goalBound, the other way round. */
export function goalFloor(result: Result, bound: number): Goal {
  const goal = `at least ${bound} ${result.unit}`;
  return { what: result.what, goal, value: result.ours, met: result.ours >= bound };
}

/** A goal that every single figure of ours meets. */
export function goalOfWorst(result: Result, bound: number): Goal {
  const value = result.max["ours"] ?? Number.NaN;
  const goal = `at most ${bound} ${result.unit} in every round`;
  return { what: result.what, goal, value, met: value <= bound };
}

/** Pure. Not a number for no figures. */
export function median(figures: readonly number[]): number {
  const sorted = figures.toSorted((left, right) => left - right);
  const middle = Math.floor(sorted.length / 2);
  const [low, high] = [sorted[middle - 1] ?? Number.NaN, sorted[middle] ?? Number.NaN];
  return sorted.length % 2 === 1 ? high : (low + high) / 2;
}

/** Three digits are more than any of these measurements can tell. */
function round3(figure: number): number {
  return Number(figure.toPrecision(3));
}
