import { plotSvg } from "@strata/controller/domain/simulate/plot-svg";
import { plotTerminal } from "@strata/controller/domain/simulate/plot-terminal";
import { replaySamples } from "@strata/controller/domain/simulate/replay-samples";
import type { RunSeries } from "@strata/controller/domain/simulate/series";
import { simulate } from "@strata/controller/domain/simulate/simulate";

import { assert, suite } from "../../support/suite.ts";
import { aPolicy, SECOND, START } from "./l1-support.ts";
import { aScenario } from "./simulate-support.ts";

const MINUTE = 60 * SECOND;

/** One sample a second of a load that jumps from 20 to 200 after ten minutes. */
const jump = Array.from({ length: 1800 }, (_, second) => ({
  at: second * SECOND,
  value: second < 600 ? 20 : 200,
}));
const replay = { samples: { "in-flight": jump }, startedAt: START, initial: 2, startMs: 4000 };

suite("replay of samples", (test) => {
  test("says what a policy would have done, and how much it would have run", () => {
    const { highest, last, changes, processHours, series } = replaySamples(aPolicy(), replay);
    assert.is(last?.desired, 20);
    assert.ok(highest >= 20 && highest <= 24, `${highest} at most`);
    assert.ok(changes >= 2 && changes <= 8, `${changes} changes`);
    assert.ok(
      processHours > (2 / 6 + 20 / 3) * 0.9 && processHours < (2 / 6 + 24 / 3) * 1.1,
      `${processHours}`,
    );
    assert.equal(series.points[0]?.at, 0);
  });

  test("compares policies: a lower maximum runs less", () => {
    const bounded = replaySamples(aPolicy({ max: 8 }), replay);
    assert.equal([bounded.highest, bounded.last?.limiter], [8, "max"]);
  });

  test("takes a gap in the samples for an outage", () => {
    const samples = { "in-flight": jump.filter(({ at }) => at < 15 * MINUTE || at > 20 * MINUTE) };
    const { series } = replaySamples(aPolicy(), { ...replay, samples });
    const during = series.points.filter(({ at }) => at > 15 * MINUTE + 10_000 && at < 20 * MINUTE);
    assert.ok(during.length > 10 && during.every(({ desired }) => desired >= 20));
    const lost = replaySamples(aPolicy({ fallback: { mode: "static", processes: 30 } }), {
      ...replay,
      samples,
    });
    assert.ok(lost.series.points.some(({ at, desired }) => at < 20 * MINUTE && desired === 30));
  });

  test("does nothing without samples", () => {
    const { last, highest } = replaySamples(aPolicy(), { ...replay, samples: {} });
    assert.equal([last?.desired, highest], [2, 2]);
  });
});

suite("plots", (test) => {
  const { series } = simulate(
    aScenario({ subscription: { load: { kind: "step", from: 500, to: 5000, at: "20m" } } }),
  );
  const [run] = series;
  const points = run?.points ?? [];

  test("of a run show load, need, decision and limiter in the terminal", () => {
    const text = plotTerminal({ name: "web", points }, { width: 60, height: 10 });
    const lines = text.trimEnd().split("\n");
    assert.is(lines.length, 1 + 1 + 10 + 1 + 1);
    assert.match(lines[0] ?? "", /^web: load up to 5\d{3}/);
    assert.match(lines[1] ?? "", /▁.*█/);
    assert.match(text, /\^ grow-rate|s stabilisation/);
    for (const line of lines.slice(1, -1)) assert.ok(line.length <= 60 + 6);
    assert.is(plotTerminal({ name: "none", points: [] }), "none: nothing to show\n");
  });

  test("of a run are well-formed SVG with every part named", () => {
    const svg = plotSvg({ name: "web", points });
    assert.match(svg, /^<svg [^>]*>\n<title>web<\/title>/);
    for (const part of ["decided", "ready", "forecast", "need by requests", "processes"]) {
      assert.ok(svg.includes(`>${part}`), part);
    }
    assert.equal(openTags(svg), []);
    assert.not(/NaN|Infinity|undefined/.test(svg));
  });

  test("cannot be broken out of by a name", () => {
    const hostile: RunSeries = { name: `</title><script>"&`, points };
    const svg = plotSvg(hostile);
    assert.not(svg.includes("<script"));
    assert.equal(openTags(svg), []);
  });

  test("of a run without points are still drawn", () => {
    const svg = plotSvg({ name: "none", points: [] });
    assert.not(/NaN|Infinity|undefined/.test(svg));
    assert.equal(openTags(svg), []);
  });
});

/** Tags that are not closed in order; empty for well-formed markup. */
function openTags(markup: string): readonly string[] {
  const open: string[] = [];
  for (const [, slash, name = "", self] of markup.matchAll(/<(\/?)([a-z]+)[^>]*?(\/?)>/g)) {
    if (self === "/") continue;
    if (slash !== "/") open.push(name);
    else if (open.at(-1) === name) open.pop();
    else return [...open, `/${name}`];
  }
  return open;
}
