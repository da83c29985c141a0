import { aScratchInstance } from "../instance/scratch.ts";
import type { Bench, Contestant, Result } from "./bench.ts";
import { runWrk, type WrkFigures } from "./ingress/load.ts";
import { aBackend, aBareProxy, anIngressProxy, type Proxy } from "./ingress/proxies.ts";
import { type EventsContext, measureReactions } from "./ingress/reaction.ts";
import { aSleeper, type Depth } from "./ingress/sleeper.ts";
import { measureWakes } from "./ingress/wake.ts";
import { goalAtLeast, goalBound, interleave, summarize } from "./measure.ts";

const PEER = "haproxy";
/** Of reactions and of wakes of either depth, however few rounds the loads have. */
const EVENTS_MIN = 20;

/** The loads go to one server that answers at once, so that what is seen is the proxy. Ours is as it
 * comes; HAProxy beside it has the shortest configuration that leads a host to it. Both write an access log to a file,
 * have the same number of threads and keep connections. Reactions and wakes are those of
 * a whole installation. */
export const bench: Bench = {
  name: "ingress",
  summary:
    "Requests through the ingress beside bare HAProxy, and how soon it leads to processes that are new or asleep",
  rounds: 7,
  run: async ({ rounds, say, folder }) => {
    const [rate, p99] = await measureLoads(rounds, say);
    const events = Math.max(EVENTS_MIN, rounds);
    await using scratch = await aScratchInstance(folder, say);
    const context = { instance: scratch.instance, events, say };
    const reaction = percentiles("RUNNING → first request", await measureReactions(context));
    const frozen = await wakesOf("frozen", context);
    const stopped = await wakesOf("stopped", context);
    return {
      results: [
        rate,
        p99,
        ...[reaction, frozen, stopped].flatMap((figures) => [figures.p50, figures.p99]),
      ],
      goals: [
        goalAtLeast(rate, PEER, 0.95),
        goalBound(reaction.p99, 300),
        goalBound(frozen.p50, 20),
        goalBound(stopped.p50, 300),
        goalBound(stopped.p99, 1000),
      ],
    };
  },
};

async function measureLoads(
  rounds: number,
  say: (line: string) => void,
): Promise<readonly [Result, Result]> {
  await using backend = await aBackend();
  await using ours = await anIngressProxy(backend.port);
  await using bare = await aBareProxy(backend.port);
  const p99s = new Map<string, number[]>();
  const contestant = (name: string, proxy: Proxy): Contestant => ({
    name,
    measure: async (round) => {
      const figures: WrkFigures = await runWrk(proxy);
      // The first round warms up.
      if (round > 0) p99s.set(name, [...(p99s.get(name) ?? []), figures.p99Ms]);
      return figures.requestsPerSecond;
    },
  });
  const contestants = [contestant("strata", ours), contestant(PEER, bare)];
  const samples = await interleave(contestants, { rounds, say });
  const ordered = new Map([...samples.keys()].map((name) => [name, p99s.get(name) ?? []]));
  return [
    summarize("requests, 32 clients", "req/s", samples),
    summarize("p99 of them", "ms", ordered),
  ];
}

async function wakesOf(
  depth: Depth,
  { instance, events, say }: EventsContext,
): Promise<Percentiles> {
  await using sleeper = await aSleeper(instance, depth);
  say(`${events} wakes of what is ${depth}`);
  return percentiles(`request → answer, ${depth}`, await measureWakes(sleeper, events));
}

type Percentiles = { readonly p50: Result; readonly p99: Result };

/** Of single events: the figure is the percentile of all of them. */
function percentiles(what: string, figures: readonly number[]): Percentiles {
  const sorted = figures.toSorted((a, b) => a - b);
  const at = (share: number): number => sorted[Math.ceil(share * sorted.length) - 1] ?? Number.NaN;
  const whole = summarize(what, "ms", new Map([["strata", figures]]));
  const result = (name: string, value: number): Result => ({
    ...whole,
    what: `${what}, ${name}`,
    ours: Number(value.toPrecision(3)),
  });
  return { p50: result("p50", at(0.5)), p99: result("p99", at(0.99)) };
}
