import { readUptimeMs } from "@strata/agent/container/metrics";
import { wasKilledForMemory } from "@strata/agent/host/kernel-log";

import { assert, suite } from "../../support/suite.ts";

/** What a log that reaches back to the boot would say of a process that was never killed. */
const canRead = wasKilledForMemory(1, Number.POSITIVE_INFINITY) === false;

suite("the kernel's log", (test) => {
  if (!canRead) return test.skip("tells nothing of what is older", "it cannot be read here");
  test("says no of a process that was not killed, and tells nothing of what is older than it", () => {
    assert.is(wasKilledForMemory(1, Number.NEGATIVE_INFINITY), undefined);
    const recent = wasKilledForMemory(1, readUptimeMs());
    assert.ok(recent === false || recent === undefined);
  });
});
