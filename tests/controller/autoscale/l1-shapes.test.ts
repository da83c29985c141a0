import {
  admitSamples,
  type ReportedSample,
  type SampleLog,
} from "@strata/controller/domain/autoscale/l1/samples";
import fc from "fast-check";

import { assert, suite } from "../../support/suite.ts";
import {
  aPolicy,
  directionChanges,
  type Run,
  runWorld,
  SECOND,
  START,
  type World,
} from "./l1-support.ts";

const MINUTE = 60 * SECOND;
const TARGET = 10;

/** The world as agents report it: every batch goes through `distort` before it is admitted. */
function reported(
  world: World,
  distort: (batch: readonly ReportedSample[], ms: number) => readonly (readonly ReportedSample[])[],
): Run {
  let log: SampleLog = {};
  return runWorld({
    ...world,
    distort: (history, ms) => {
      const batch = history.processes.flatMap(({ id, sample }) =>
        sample === null ? [] : [{ ...sample, processId: id }],
      );
      for (const one of distort(batch, ms)) log = admitSamples(log, one, START + ms);
      const processes = history.processes.map((process) => ({
        ...process,
        sample: log[process.id] ?? null,
      }));
      return { ...history, processes };
    },
  });
}

const countsOf = ({ counts }: Run): readonly number[] => counts.map(({ count }) => count);

/** A load that jumps once, from what `from` processes carry to what `to` carry. */
const jumps = fc.record({
  from: fc.integer({ min: 1, max: 10 }),
  to: fc.integer({ min: 1, max: 60 }),
  at: fc.integer({ min: 10, max: 90 }),
});

const jumpWorld = ({ from, to, at }: { from: number; to: number; at: number }): World => ({
  policy: aPolicy({ stabilisation: { shrink: 20 } }),
  load: (ms) => TARGET * (ms < at * SECOND ? from : to),
  durationMs: 4 * MINUTE,
  initial: from,
});

/** Shorter than the stable window of a minute, in numbers of processes. */
const squares = fc.record({
  halfSeconds: fc.integer({ min: 2, max: 28 }),
  low: fc.integer({ min: 0, max: 20 }),
  more: fc.integer({ min: 1, max: 60 }),
});
const SETTLING_MS = 2 * MINUTE;
const SEEN_MS = 18 * MINUTE;

/** Changes of direction once it has settled. */
function turnsUnder({
  halfSeconds,
  low,
  more,
}: {
  halfSeconds: number;
  low: number;
  more: number;
}) {
  const { counts } = runWorld({
    policy: aPolicy({ max: 1000 }),
    load: (ms) => TARGET * (Math.floor(ms / (halfSeconds * SECOND)) % 2 === 0 ? low : low + more),
    durationMs: SETTLING_MS + SEEN_MS,
    initial: low + 1,
  });
  return directionChanges(counts.filter(({ ms }) => ms >= SETTLING_MS));
}

suite("shapes of loads, as properties of level 1", (test) => {
  test("a step to ten times any load is answered in two seconds, without overshoot", () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 1, max: 10 }),
        fc.integer({ min: 60, max: 200 }),
        (from, at) => {
          const { counts } = runWorld({
            policy: aPolicy(),
            load: (ms) => TARGET * (ms < at * SECOND ? from : 10 * from),
            durationMs: 12 * MINUTE,
            initial: from,
          });
          const grown = counts.find(({ count }) => count > from);
          assert.ok((grown?.ms ?? Infinity) <= at * SECOND + 2 * SECOND, `${grown?.ms}`);
          const highest = Math.max(...counts.map(({ count }) => count));
          assert.ok(highest <= 12 * from, `${highest} for ${10 * from}`);
          assert.is(counts.at(-1)?.count, 10 * from);
        },
      ),
      { numRuns: 20 },
    );
  });

  test("a sine of any height and length turns the count at most twice a period", () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 10, max: 80 }),
        fc.integer({ min: 30, max: 90 }),
        fc.integer({ min: 15, max: 60 }),
        (mean, percent, minutes) => {
          const periodMs = minutes * MINUTE;
          const { counts } = runWorld({
            policy: aPolicy({ max: 1000 }),
            load: (ms) =>
              TARGET * mean * (1 + (percent / 100) * Math.sin((2 * Math.PI * ms) / periodMs)),
            durationMs: 3 * periodMs,
            initial: mean,
          });
          const settled = counts.filter(({ ms }) => ms >= periodMs);
          assert.ok(directionChanges(settled) <= 4, `${directionChanges(settled)} in 2 periods`);
        },
      ),
      { numRuns: 12 },
    );
  });

  test("a square wave that is shorter than the window makes nothing flap", () => {
    fc.assert(
      fc.property(squares, (square) => {
        const turns = turnsUnder(square);
        // A wave between little and very much panics now and then: up, and down after a stabilisation window at the
        // soonest, so two turns in each.
        const isWild = square.more > 2 * square.low;
        const most = isWild ? 2 * Math.floor(SEEN_MS / (5 * MINUTE)) : 1;
        assert.ok(turns <= most, `${turns} changes of direction`);
      }),
      { numRuns: 25 },
    );
  });

  test("clocks that are wrong by up to 30 s change no count", () => {
    fc.assert(
      fc.property(jumps, fc.integer({ min: -30_000, max: 30_000 }), (jump, skew) => {
        const world = jumpWorld(jump);
        const skewed = reported(world, (batch) => [
          batch.map((sample) => ({ ...sample, at: sample.at + skew })),
        ]);
        assert.equal(countsOf(skewed), countsOf(runWorld(world)));
      }),
      { numRuns: 20 },
    );
  });

  test("batches that come twice, or again after later ones, change no count", () => {
    fc.assert(
      fc.property(
        jumps,
        fc.array(fc.integer({ min: 0, max: 5 }), { minLength: 1, maxLength: 20 }),
        (jump, delays) => {
          const world = jumpWorld(jump);
          const sent: (readonly ReportedSample[])[] = [];
          const disturbed = reported(world, (batch, ms) => {
            sent.push(batch);
            const delay = delays[(ms / (2 * SECOND)) % delays.length] ?? 0;
            return [batch, sent.at(-1 - delay) ?? batch];
          });
          assert.equal(countsOf(disturbed), countsOf(runWorld(world)));
        },
      ),
      { numRuns: 20 },
    );
  });
});
