import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";

import { cellAt, coarse, fine, slotOf, windowOf } from "@strata/controller/history/chunk";
import type { Series, SeriesKey } from "@strata/controller/history/file";
import { createHistory, type History } from "@strata/controller/history/history";
import { planWindows, readPoints } from "@strata/controller/history/query";
import {
  countColumn,
  GROUP_COLUMNS,
  PROCESS_COLUMNS,
  shareColumn,
} from "@strata/controller/history/series";
import { createLogger } from "@strata/controller/logger";

import { assert, suite } from "../../support/suite.ts";
import { aTemporaryDirectory } from "../../support/temporary.ts";

const MINUTE = 60_000;
const HOUR = 60 * MINUTE;
const start = Date.parse("2026-03-01T00:00:00Z");
const logger = createLogger("silent");

const process = (name: string): SeriesKey => ({
  kind: "process",
  tenant: "default",
  name,
  subscription: "web",
  node: "node-a",
});
const web: SeriesKey = {
  kind: "subscription",
  tenant: "default",
  name: "web",
  subscription: "",
  node: "",
};

/** Every figure is the same: how they are told apart is for other tests. */
function figures(key: SeriesKey, value: number): { key: SeriesKey; values: Float32Array } {
  const columns = key.kind === "process" ? PROCESS_COLUMNS : GROUP_COLUMNS;
  return { key, values: new Float32Array(columns).fill(value) };
}

function open(path: string, bytesMax = 1024 ** 3): History {
  return createHistory({ path, bytesMax, logger });
}

/** As the loop of the controller does it, a point every 10 s, written down as time passes. */
function run(
  history: History,
  span: { readonly from: number; readonly to: number; readonly of: (at: number) => SeriesKey[] },
): void {
  for (let at = span.from; at < span.to; at += fine.stepMs) {
    history.record(
      at,
      span.of(at).map((key) => figures(key, (at - start) / fine.stepMs)),
    );
    history.tend(at);
  }
}

function theSeries(history: History, key: SeriesKey): Series | undefined {
  const { kind, name } = key;
  return history.find({ kind, name, sinceMs: 0, limit: 1 })[0];
}

function valueAt(history: History, key: SeriesKey, at: number): number | undefined {
  const series = theSeries(history, key);
  const chunk = series && history.read(fine, windowOf(fine, at), series);
  return chunk?.[cellAt(fine, { column: 0, slot: slotOf(fine, at) })];
}

suite("the metrics history", (test) => {
  test("goes on in the middle of a window after a controller that was killed", async () => {
    await using folder = aTemporaryDirectory();
    const path = join(folder.path, "metrics.db");
    const killed = open(path);
    run(killed, { from: start, to: start + 4 * MINUTE, of: () => [process("p1")] });
    // Not closed: what was not written is lost.
    const next = open(path);
    run(next, {
      from: start + 5 * MINUTE,
      to: start + 6 * MINUTE,
      of: () => [process("p1")],
    });
    assert.is(valueAt(next, process("p1"), start + 2 * MINUTE), 12, "written a minute ago");
    assert.is(valueAt(next, process("p1"), start + 5 * MINUTE), 30, "of this life");
    next.close();
    const last = open(path);
    assert.is(valueAt(last, process("p1"), start + 2 * MINUTE), 12);
    assert.is(valueAt(last, process("p1"), start + 6 * MINUTE - 1), 35, "a stop loses nothing");
    last.close();
    killed.close();
  });

  test("finds what had figures just now, and not what had none since", () => {
    const history = open(":memory:");
    run(history, { from: start, to: start + MINUTE, of: () => [process("p1"), process("p2")] });
    const sinceMs = start + 2 * MINUTE;
    run(history, { from: start + MINUTE, to: sinceMs + MINUTE, of: () => [process("p1")] });
    const found = history.find({ kind: "process", sinceMs, limit: 10 });
    assert.equal(
      found.map(({ name }) => name),
      ["p1"],
    );
    history.close();
  });

  test("has coarse points of what is old, of ended processes only in their subscription", async () => {
    await using folder = aTemporaryDirectory();
    const history = open(join(folder.path, "metrics.db"));
    const end = start + 29 * HOUR;
    run(history, {
      from: start,
      to: end,
      of: (at) => [process("lives"), web, ...(at < start + 2 * HOUR ? [process("ended")] : [])],
    });
    const query = { metric: "cpu", agg: "max", sinceMs: start, untilMs: end } as const;
    const windows = planWindows(history, query, end);
    assert.ok(windows.some(({ tier }) => tier === coarse));
    const points = async (key: SeriesKey): Promise<readonly (readonly [number, number])[]> => {
      const series = theSeries(history, key);
      return series === undefined
        ? []
        : await readPoints(history, { series, windows }, { ...query, stepMs: 300_000 });
    };
    for (const key of [process("lives"), web]) {
      const found = await points(key);
      assert.is(found.length, (29 * HOUR) / 300_000, "without a gap or a point twice");
      assert.equal(found[0], [start / 1000, 29]);
      assert.equal(found.at(-1), [end / 1000 - 300, (29 * HOUR) / 10_000 - 1]);
    }
    assert.equal(await points(process("ended")), [], "it ended more than a day ago");
    history.close();
  });

  test("keeps its size by dropping the oldest", async () => {
    await using folder = aTemporaryDirectory();
    const bytesMax = 256 * 1024;
    const history = open(join(folder.path, "metrics.db"), bytesMax);
    const noise = Array.from({ length: 40 }, (_, index) => `p${index}`);
    let seed = 1;
    const random = (): number => (seed = (seed * 48_271) % 2_147_483_647);
    const end = start + 5 * HOUR;
    for (let at = start; at < end; at += fine.stepMs) {
      const readings = noise.map((name) => ({
        key: process(name),
        values: Float32Array.from({ length: PROCESS_COLUMNS }, random),
      }));
      history.record(at, readings);
      history.tend(at);
    }
    // What came in the last minute may be on top.
    assert.ok(history.sizeBytes() < bytesMax * 1.6, `${history.sizeBytes()} bytes`);
    assert.is(valueAt(history, process("p0"), start), undefined);
    assert.ok(Number.isFinite(valueAt(history, process("p0"), end - 1)));
    history.close();
  });

  test("is started anew when its file is damaged", async () => {
    await using folder = aTemporaryDirectory();
    const path = join(folder.path, "metrics.db");
    writeFileSync(path, "this is no database, and long enough to be looked at. ".repeat(100));
    const history = open(path);
    const of = (): SeriesKey[] => [process("p1")];
    run(history, { from: start, to: start + 3 * MINUTE, of });
    assert.is(valueAt(history, process("p1"), start + 2 * MINUTE), 12);
    assert.match(readFileSync(`${path}.damaged`, "utf8"), /^this is no database/);
    history.close();
    assert.ok(existsSync(path));
  });

  test("takes nothing from a clock that went back", () => {
    const history = open(":memory:");
    run(history, { from: start + HOUR, to: start + HOUR + MINUTE, of: () => [web] });
    history.record(start, [figures(web, 1)]);
    assert.is(valueAt(history, web, start), undefined);
    assert.is(valueAt(history, web, start + HOUR), 360);
    history.close();
  });

  test("keeps nothing and makes no file where its size is 0", async () => {
    await using folder = aTemporaryDirectory();
    const path = join(folder.path, "metrics.db");
    const history = open(path, 0);
    run(history, { from: start, to: start + MINUTE, of: () => [web] });
    assert.is(theSeries(history, web), undefined);
    assert.is(existsSync(path), false);
  });

  test("has a column for every share of every metric", () => {
    assert.is(countColumn("latency"), GROUP_COLUMNS - 1);
    // Where it was before there were counts behind it: what was written stays readable.
    assert.is(shareColumn("in-flight", "min"), 26);
  });
});
