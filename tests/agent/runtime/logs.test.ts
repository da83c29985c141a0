import { appendFileSync, mkdirSync, rmdirSync, rmSync, statSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";

import { parseConfig } from "@strata/agent/config";
import { ageLog, createLogClock } from "@strata/agent/container/log-age";
import { createLogKeeper } from "@strata/agent/container/log-keeper";
import { giveBack, type LogPart, readLog, trimLog } from "@strata/agent/container/logs";
import { agentPaths, processPaths } from "@strata/agent/paths";

import { assert, suite } from "../../support/suite.ts";
import { aTemporaryDirectory } from "../../support/temporary.ts";

const line = (number: number): string => `line ${String(number).padStart(10, "0")}\n`;
const lines = (from: number, to: number): string =>
  Array.from({ length: to - from }, (_, index) => line(from + index)).join("");

async function read(path: string, tail?: number): Promise<string> {
  const { signal } = new AbortController();
  const chunks = await Array.fromAsync(readLog(path, { follow: false, tail, signal }));
  return Buffer.concat(chunks.map(({ bytes }) => bytes)).toString("utf8");
}

suite("the log of a process", (test) => {
  test("is given whole, or by its last lines", async () => {
    await using folder = aTemporaryDirectory();
    const path = join(folder.path, "log");
    writeFileSync(path, lines(0, 10_000));
    assert.is(await read(path), lines(0, 10_000));
    assert.is(await read(path, 3), lines(9997, 10_000));
    assert.is(await read(path, 9000), lines(1000, 10_000));
    assert.is(await read(path, 0), "");
    assert.is(await read(path, 1_000_000), lines(0, 10_000));
  });

  test("counts a last line that is not finished", async () => {
    await using folder = aTemporaryDirectory();
    const path = join(folder.path, "log");
    writeFileSync(path, "one\ntwo\nthr");
    assert.is(await read(path, 1), "thr");
    assert.is(await read(path, 2), "two\nthr");
  });

  test("that is not there is empty", async () => {
    assert.is(await read("/nonexistent/log", 5), "");
  });

  test("keeps its newest part within the limit, in whole lines, at unchanged offsets", async () => {
    await using folder = aTemporaryDirectory();
    const path = join(folder.path, "log");
    const max = 256 * 1024;
    for (let block = 0; block < 20; block += 1) {
      appendFileSync(path, lines(block * 10_000, (block + 1) * 10_000));
      await trimLog(path, max);
    }
    const { size, blocks } = statSync(path);
    assert.is(size, lines(0, 200_000).length);
    assert.ok(blocks * 512 <= max * 1.25 + 64 * 1024, `${blocks * 512} bytes on the disk`);
    const kept = await read(path);
    assert.ok(kept.length >= max * 0.9);
    assert.ok(lines(0, 200_000).endsWith(kept));
    assert.ok(kept.startsWith("line "));
    assert.is(await read(path, 2), lines(199_998, 200_000));
  });

  test("gives a follower every line while it is trimmed", async () => {
    await using folder = aTemporaryDirectory();
    const path = join(folder.path, "log");
    const stop = new AbortController();
    writeFileSync(path, lines(0, 1000));
    let received = "";
    let written = 1000;
    for await (const { bytes } of readLog(path, { follow: true, signal: stop.signal })) {
      received += bytes.toString("utf8");
      if (received.length < written * line(0).length) continue;
      if (written === 30_000) break;
      appendFileSync(path, lines(written, written + 1000));
      written += 1000;
      await trimLog(path, 16 * 1024);
    }
    assert.is(received, lines(0, 30_000));
  });

  test("ends for a follower when it is deleted", async () => {
    await using folder = aTemporaryDirectory();
    const path = join(folder.path, "log");
    writeFileSync(path, "last\n");
    const received: string[] = [];
    const { signal } = new AbortController();
    for await (const { bytes } of readLog(path, { follow: true, signal })) {
      if (bytes.length === 0) continue;
      received.push(bytes.toString("utf8"));
      rmSync(path);
    }
    assert.equal(received, ["last\n"]);
  });

  test("goes on from a byte, as far as it is kept, and begins lines where they begin", async () => {
    await using folder = aTemporaryDirectory();
    const path = join(folder.path, "log");
    const { signal } = new AbortController();
    writeFileSync(path, lines(0, 100));
    const from = async (offset: number): Promise<readonly [number | undefined, string]> => {
      const parts = await Array.fromAsync(readLog(path, { follow: false, from: offset, signal }));
      return [parts[0]?.offset, Buffer.concat(parts.map(({ bytes }) => bytes)).toString()];
    };
    const size = line(0).length;
    assert.equal(await from(99 * size + 3), [99 * size + 3, line(99).slice(3)]);
    assert.equal(await from(1e9), [100 * size, ""]);
    await giveBack(path, 40 * size);
    assert.equal(await from(7), [40 * size, lines(40, 100)]);
    assert.is(await read(path), lines(40, 100), "a line that begins at the cut is whole");
    await giveBack(path, 50 * size + 1);
    assert.is(await read(path), lines(51, 100));
  });

  test("never shows a reader that is slow what was given back, as if it were zeros", async () => {
    await using folder = aTemporaryDirectory();
    const path = join(folder.path, "log");
    const { signal } = new AbortController();
    writeFileSync(path, lines(0, 50_000));
    const parts: LogPart[] = [];
    for await (const part of readLog(path, { follow: false, signal })) {
      parts.push(part);
      if (parts.length === 2) await trimLog(path, 64 * 1024);
    }
    const [, second, third] = parts;
    const text = Buffer.concat(parts.map(({ bytes }) => bytes)).toString("latin1");
    assert.not.ok(text.includes("\0"));
    assert.ok((third?.offset ?? 0) > (second?.offset ?? 0) + (second?.bytes.length ?? 0));
    assert.ok(text.endsWith(line(49_999)));
  });

  test("waits for a log that a follower is early for, as long as there is a process", async () => {
    await using folder = aTemporaryDirectory();
    const process = join(folder.path, "process");
    mkdirSync(process);
    const path = join(process, "log");
    const { signal } = new AbortController();
    const parts = readLog(path, { follow: true, signal });
    const first = parts.next();
    writeFileSync(path, "early\n");
    assert.is((await first).value?.offset, 0);
    assert.is((await parts.next()).value?.bytes.toString(), "early\n");
    rmSync(path);
    rmdirSync(process);
    assert.is((await parts.next()).done, true);
    assert.is((await readLog(path, { follow: true, signal }).next()).done, true);
  });
});

suite("the keeper of logs", (test) => {
  test("keeps logs within their size at every call while they grow, and soon after they begin to", async () => {
    await using folder = aTemporaryDirectory();
    const config = parseConfig({ STRATA_DATA: folder.path, STRATA_LOG_MAX_MIB: "1" });
    const ids = ["a-1", "a-2", "a-3", "a-4", "a-5"];
    const logOf = (id: string): string => processPaths(agentPaths(config), id).log;
    for (const id of ids) mkdirSync(dirname(logOf(id)), { recursive: true });
    const keeper = createLogKeeper(config, () => 0);
    const kept = (id: string): number => statSync(logOf(id)).blocks * 512;
    const flood = Buffer.alloc(2 * 1024 * 1024, "x");
    for (let call = 0; call < 5; call += 1) await keeper.trim(ids);
    for (const id of ids) appendFileSync(logOf(id), flood);
    for (let call = 0; call < 4; call += 1) await keeper.trim(ids);
    for (const id of ids) assert.ok(kept(id) < 1.3 * 1024 * 1024, `${id} has ${kept(id)} bytes`);
    for (let call = 0; call < 8; call += 1) {
      appendFileSync(logOf("a-1"), flood);
      await keeper.trim(ids);
      // By then it was seen to grow.
      if (call >= 3) assert.ok(kept("a-1") < 1.3 * 1024 * 1024, `call ${call}: ${kept("a-1")}`);
    }
  });
});

suite("the age of a log", (test) => {
  const DAY = 24 * 3_600_000;

  test("takes what is older than the limit, and no step of the calendar counts", async () => {
    await using folder = aTemporaryDirectory();
    const path = join(folder.path, "log");
    for (let day = 0; day < 40; day += 1) {
      appendFileSync(path, `day ${day}\n`);
      await ageLog(path, { nowMs: day * DAY, ageMsMax: 14 * DAY });
    }
    const kept = (await read(path)).trim().split("\n");
    assert.is(kept.at(-1), "day 39");
    assert.ok(kept.length >= 14 && kept.length <= 16, kept.join());
    await ageLog(path, { nowMs: 39 * DAY + 13 * DAY, ageMsMax: 14 * DAY });
    assert.ok((await read(path)).includes("day 39"));
    await ageLog(path, { nowMs: 39 * DAY + 15 * DAY, ageMsMax: 14 * DAY });
    await ageLog(path, { nowMs: 39 * DAY + 30 * DAY, ageMsMax: 14 * DAY });
    assert.is(await read(path), "");
    appendFileSync(path, "new\n");
    assert.is(await read(path), "new\n");
  });

  test("is measured by the time that agents ran, over restarts and reboots", async () => {
    await using folder = aTemporaryDirectory();
    const path = join(folder.path, "clock");
    let uptime = 1000;
    const first = createLogClock(path, () => uptime);
    uptime = 5000;
    assert.is(first.tick(), 4000);
    // A reboot: the kernel counts from 0 again.
    uptime = 100;
    const second = createLogClock(path, () => uptime);
    uptime = 300;
    assert.is(second.tick(), 4200);
  });

  test("goes on with notes that are damaged", async () => {
    await using folder = aTemporaryDirectory();
    const path = join(folder.path, "log");
    writeFileSync(path, "text\n");
    writeFileSync(`${path}.ages`, "{");
    await ageLog(path, { nowMs: 0, ageMsMax: DAY });
    await ageLog(path, { nowMs: DAY, ageMsMax: DAY });
    assert.is(await read(path), "");
  });
});
