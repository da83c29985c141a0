import { appendFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";

import { readLog, trimLog } from "@strata/agent/container/logs";

import { assert, suite } from "../../support/suite.ts";
import { aTemporaryDirectory } from "../../support/temporary.ts";

const line = (number: number): string => `line ${String(number).padStart(10, "0")}\n`;
const lines = (from: number, to: number): string =>
  Array.from({ length: to - from }, (_, index) => line(from + index)).join("");

async function read(path: string, tail?: number): Promise<string> {
  const { signal } = new AbortController();
  const chunks = await Array.fromAsync(readLog(path, { follow: false, tail, signal }));
  return Buffer.concat(chunks).toString("utf8");
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
    for await (const chunk of readLog(path, { follow: true, signal: stop.signal })) {
      received += chunk.toString("utf8");
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
    for await (const chunk of readLog(path, { follow: true, signal })) {
      received.push(chunk.toString("utf8"));
      rmSync(path);
    }
    assert.equal(received, ["last\n"]);
  });
});
