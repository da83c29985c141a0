import type { CgroupUsage } from "@strata/agent/cgroup/cgroups";
import { createSampler, type MetricSources, type Sampler } from "@strata/agent/container/metrics";

import { assert, suite } from "../../support/suite.ts";

type Scene = { readonly sampler: Sampler; readonly use: (usage: Partial<CgroupUsage>) => void };

/** A group whose files say what the test wants, and a sampler that reads them. */
function aScene(): Scene {
  let usage: CgroupUsage = { cpuUsageUs: 100, memoryBytes: 1000, pids: 1 };
  const sampler = createSampler({
    readUsage: () => usage,
    readCpuUs: () => usage.cpuUsageUs,
    readCounters: () => ({}),
  });
  return { sampler, use: (change) => (usage = { ...usage, ...change }) };
}

function at(uptimeMs: number, change: Partial<MetricSources> = {}): MetricSources {
  return { uptimeMs, traffic: undefined, pid: undefined, ports: [], ...change };
}

suite("what a process uses", (test) => {
  test("is read again when it used the processor", () => {
    const { sampler, use } = aScene();
    sampler.read("web-1", at(0));
    use({ cpuUsageUs: 101, memoryBytes: 2000 });
    assert.is(sampler.read("web-1", at(500))?.memoryBytes, 2000);
  });

  test("is taken as it was while the process sleeps, and read again after a minute", () => {
    const { sampler, use } = aScene();
    sampler.read("web-1", at(0));
    use({ memoryBytes: 2000 });
    const asleep = sampler.read("web-1", at(59_999));
    assert.equal([asleep?.memoryBytes, asleep?.sampledAtMs], [1000, 59_999]);
    assert.is(sampler.read("web-1", at(60_000))?.memoryBytes, 2000);
  });

  test("is read again when something passed the wire of a process with ports", () => {
    const { sampler, use } = aScene();
    const traffic = { rxBytes: 10, txBytes: 0, rxDropped: 0, txDropped: 0 };
    sampler.read("web-1", at(0, { traffic, ports: [80] }));
    use({ memoryBytes: 2000 });
    const more = { ...traffic, rxBytes: 11 };
    assert.is(sampler.read("web-1", at(500, { traffic: more, ports: [80] }))?.memoryBytes, 2000);
  });

  test("tells the traffic of a process that sleeps", () => {
    const { sampler } = aScene();
    const traffic = { rxBytes: 10, txBytes: 5, rxDropped: 1, txDropped: 2 };
    sampler.read("web-1", at(0));
    const report = sampler.read("web-1", at(500, { traffic }));
    assert.equal([report?.networkRxBytes, report?.networkTxDropped], [10, 2]);
  });

  test("begins anew for the next container of the same process", () => {
    const { sampler, use } = aScene();
    sampler.read("web-1", at(0));
    sampler.forget("web-1");
    use({ memoryBytes: 2000 });
    assert.is(sampler.read("web-1", at(500))?.memoryBytes, 2000);
  });
});
