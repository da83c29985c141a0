import { appendFileSync, mkdirSync, statSync, utimesSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";

import { parseConfig } from "@strata/agent/config";
import { createLogKeeper } from "@strata/agent/container/log-keeper";
import { type Found, searchLog } from "@strata/agent/container/log-search";
import {
  createLineClock,
  logTimesPath,
  noteLogTime,
  readLogTimes,
} from "@strata/agent/container/log-times";
import { giveBack } from "@strata/agent/container/logs";
import { agentPaths, processPaths } from "@strata/agent/paths";
import type { LogSearch } from "@strata/protocol/agent/log-search";

import { assert, suite } from "../../support/suite.ts";
import { aTemporaryDirectory } from "../../support/temporary.ts";

const start = Date.parse("2026-03-01T12:00:00Z");
const pattern = (text: string, options: object = {}): LogSearch["pattern"] => ({
  text,
  regex: false,
  ignoreCase: false,
  ...options,
});

function search(path: string, asked: Partial<LogSearch> = {}): Promise<Found> {
  const { signal } = new AbortController();
  return searchLog(path, {
    search: { tail: 1000, ...asked },
    nowMs: start + 3_600_000,
    monotonicMs: () => 0,
    signal,
  });
}

const texts = ({ lines }: Found): readonly string[] => lines.map(({ text }) => text);

/** A log that an agent looked at after each of these pieces. */
function write(path: string, pieces: readonly (readonly [atS: number, text: string])[]): void {
  let notedAtMs: number | undefined;
  let earlier: { size: number; atMs: number } | undefined;
  for (const [atS, text] of pieces) {
    appendFileSync(path, text);
    const { size } = statSync(path);
    const nowMs = start + atS * 1000;
    notedAtMs = noteLogTime(path, { size, earlier, notedAtMs, nowMs });
    earlier = { size, atMs: nowMs };
  }
  utimesSync(path, start / 1000, start / 1000 + (pieces.at(-1)?.[0] ?? 0));
}

suite("a search in a log", (test) => {
  test("finds text as it is, without regard to case, and by regular expressions", async () => {
    await using folder = aTemporaryDirectory();
    const path = join(folder.path, "log");
    write(path, [[0, "GET /a 200\nget /b 500\nPOST /c 503 (slow)\n"]]);
    assert.equal(texts(await search(path, { pattern: pattern("GET") })), ["GET /a 200"]);
    assert.equal(texts(await search(path, { pattern: pattern("get", { ignoreCase: true }) })), [
      "GET /a 200",
      "get /b 500",
    ]);
    const failed = pattern(" 5\\d\\d( |$)", { regex: true });
    assert.equal(texts(await search(path, { pattern: failed })), [
      "get /b 500",
      "POST /c 503 (slow)",
    ]);
    assert.equal(texts(await search(path, { pattern: pattern("(slow)") })), ["POST /c 503 (slow)"]);
    assert.is((await search(path)).lines.length, 3);
  });

  test("is not held up by a pattern that backtracks without end elsewhere", async () => {
    await using folder = aTemporaryDirectory();
    const path = join(folder.path, "log");
    write(path, [[0, `${"a".repeat(50_000)}b\n`]]);
    const evil = pattern("^(a+)+(a|aa)+$", { regex: true });
    assert.equal(texts(await search(path, { pattern: evil })), []);
  });

  test("takes lines of a time, and says when each was written", async () => {
    await using folder = aTemporaryDirectory();
    const path = join(folder.path, "log");
    write(path, [
      [0, "zero\n"],
      [60, ""],
      [61, "sixty-one\n"],
      [120, ""],
      [121, "late\nlater\n"],
    ]);
    const after = await search(path, { sinceMs: start + 30_000 });
    assert.equal(texts(after), ["sixty-one", "late", "later"]);
    const [first, second, third] = after.lines.map(({ atMs }) => (atMs - start) / 1000);
    assert.ok((first ?? 0) >= 60 && (first ?? 0) <= 61, `${first} s`);
    assert.ok((second ?? 0) >= 120 && (third ?? 0) <= 121 && (second ?? 0) <= (third ?? 0));
    const before = await search(path, { sinceMs: start + 30_000, untilMs: start + 90_000 });
    assert.equal(texts(before), ["sixty-one"]);
    assert.equal(before.lines[0]?.offset, 5);
  });

  test("gives the last lines, and says that there are more", async () => {
    await using folder = aTemporaryDirectory();
    const path = join(folder.path, "log");
    const lines = Array.from({ length: 30_000 }, (_, index) => `line ${index}`);
    write(path, [[0, `${lines.join("\n")}\n`]]);
    const found = await search(path, { tail: 2, pattern: pattern("9") });
    assert.equal([texts(found), found.truncated], [["line 29998", "line 29999"], true]);
    const all = await search(path, { tail: 10_000, pattern: pattern("line 123") });
    assert.equal(
      texts(all),
      lines.filter((line) => line.includes("line 123")),
    );
    assert.is(all.truncated, false);
  });

  test("sees lines longer than a read, an unfinished last line, and a log that was trimmed", async () => {
    await using folder = aTemporaryDirectory();
    const path = join(folder.path, "log");
    write(path, [[0, `first\n${"x".repeat(200_000)}needle\nlast`]]);
    assert.equal(texts(await search(path, { pattern: pattern("needle") })).length, 1);
    assert.equal(texts(await search(path, { pattern: pattern("last") })), ["last"]);
    await giveBack(path, 3);
    assert.equal(texts(await search(path, { pattern: pattern("rst") })), [], "half a line");
    assert.equal(texts(await search(path, { pattern: pattern("last") })), ["last"]);
  });

  test("of a log that is not there finds nothing", async () => {
    assert.equal(await search("/nonexistent/log"), {
      lines: [],
      truncated: false,
      timedOut: false,
    });
  });

  test("ends with what it has when it takes too long", async () => {
    await using folder = aTemporaryDirectory();
    const path = join(folder.path, "log");
    write(path, [[0, "some line\n".repeat(50_000)]]);
    let now = 0;
    const found = await searchLog(path, {
      search: { tail: 10_000 },
      nowMs: start,
      monotonicMs: () => (now += 10_000),
      signal: new AbortController().signal,
    });
    assert.is(found.timedOut, true);
    assert.ok(found.lines.length > 0);
  });
});

suite("the times of a log", (test) => {
  test("are noted by the keeper while it grows, and go with what is kept of it", async () => {
    await using folder = aTemporaryDirectory();
    const config = parseConfig({ STRATA_DATA: folder.path });
    const path = processPaths(agentPaths(config), "p1").log;
    mkdirSync(dirname(path), { recursive: true });
    writeFileSync(path, "");
    let nowMs = start;
    const keeper = createLogKeeper(config, () => nowMs);
    for (let second = 0; second < 60; second += 1) {
      nowMs = start + second * 1000;
      if (second % 20 === 10) appendFileSync(path, `second ${second}\n`);
      await keeper.trim(["p1"]);
    }
    const { lines } = await search(path, {});
    assert.equal(
      lines.map(({ text }) => text),
      ["second 10", "second 30", "second 50"],
    );
    // A quiet log is looked at every fourth time.
    const [ten = 0, thirty = 0] = lines.map(({ atMs }) => (atMs - start) / 1000);
    assert.ok(ten <= 14 && thirty >= 25 && thirty <= 34, `${ten} ${thirty}`);
  });

  test("stay few, however long a log grows", async () => {
    await using folder = aTemporaryDirectory();
    const path = join(folder.path, "log");
    writeFileSync(path, "");
    let notedAtMs: number | undefined;
    for (let second = 0; second < 20_000; second += 1)
      notedAtMs = noteLogTime(path, {
        size: second + 1,
        earlier: { size: second, atMs: start + (second - 1) * 1000 },
        notedAtMs,
        nowMs: start + second * 1000,
      });
    assert.ok(statSync(logTimesPath(path)).size <= 4096 * 16);
    const notes = readLogTimes(path);
    const timeOf = createLineClock(notes, { atMs: start + 20_000_000, offset: 20_000 });
    for (const second of [500, 9000, 19_000])
      assert.ok(Math.abs((timeOf(second) - start) / 1000 - second) < 60);
  });

  test("that are damaged are left out", async () => {
    await using folder = aTemporaryDirectory();
    const path = join(folder.path, "log");
    write(path, [[0, "one\n"]]);
    appendFileSync(logTimesPath(path), "half a note");
    assert.is(readLogTimes(path).length, 1);
    writeFileSync(logTimesPath(path), Buffer.alloc(64, 0xff));
    assert.equal(readLogTimes(path), []);
    assert.equal(texts(await search(path)), ["one"]);
  });
});
