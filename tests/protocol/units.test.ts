import { formatBytes, parseBytes, parseCpuMillis, parseDurationMs } from "@strata/protocol/units";

import { assert, suite, throwsWithCode } from "../support/suite.ts";

suite("units", (test) => {
  test("reads sizes with binary and decimal units", () => {
    assert.is(parseBytes("512Mi"), 536_870_912);
    assert.is(parseBytes("1.5k"), 1500);
    assert.is(parseBytes(4096), 4096);
  });

  test("takes a duration without a unit for seconds", () => {
    assert.is(parseDurationMs(30), 30_000);
    assert.is(parseDurationMs("250ms"), 250);
  });

  test("takes a processor share without a unit for whole processors", () => {
    assert.is(parseCpuMillis(0.5), 500);
    assert.is(parseCpuMillis("250m"), 250);
  });

  test("refuses signs, unknown units and junk", () => {
    for (const text of ["-1", "12Q", "", "1e9", "0x10", "1 2", "1constructor"]) {
      throwsWithCode(() => parseBytes(text), "INVALID");
    }
  });

  test("writes sizes for people", () => {
    assert.is(formatBytes(1536), "1.5Ki");
    assert.is(formatBytes(10), "10");
  });
});
