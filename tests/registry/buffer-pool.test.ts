import { createBufferPool } from "@strata/registry/buffer-pool";

import { assert, suite } from "../support/suite.ts";

const MIB = 1024 * 1024;

suite("the buffer pool", (test) => {
  test("gives small buffers when many are out, and large ones again when they are back", () => {
    const pool = createBufferPool();
    const taken = Array.from({ length: 2_000 }, () => pool.take());
    const large = taken.filter(({ length }) => length === MIB);
    assert.is(large.length, 32);
    const bytes = taken.reduce((sum, { length }) => sum + length, 0);
    assert.ok(bytes < 160 * MIB, `${bytes} bytes`);
    taken.forEach((buffer, number) => (number % 2 === 0 ? pool.give(buffer) : pool.drop(buffer)));
    const again = Array.from({ length: 33 }, () => pool.take());
    assert.is(again.filter(({ length }) => length === MIB).length, 32);
  });

  test("uses a buffer again that was given back, and never one that was dropped", () => {
    const pool = createBufferPool();
    const [given, dropped] = [pool.take(), pool.take()];
    pool.give(given);
    pool.drop(dropped);
    assert.is(pool.take(), given);
    assert.is.not(pool.take(), dropped);
  });
});
