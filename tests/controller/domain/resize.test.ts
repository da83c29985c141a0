import { differInLimitsAlone, planResizes } from "@strata/controller/domain/resize";
import type { Limits, ProcessSpec } from "@strata/protocol/agent/messages";
import { parseDigest } from "@strata/protocol/oci/digest";
import fc from "fast-check";

import { assert, suite } from "../../support/suite.ts";

const limitsOf = (memoryMaxBytes: number, cpuMaxMillis = 100): Limits => ({
  memoryMaxBytes,
  cpuMaxMillis,
  pidsMax: 10,
});

const aSpec = (changes: Partial<ProcessSpec> = {}): ProcessSpec => ({
  tenant: "default",
  subscription: "web",
  cartridge: "hello",
  image: { repository: "hello", digest: parseDigest(`sha256:${"a".repeat(64)}`) },
  env: {},
  ports: [],
  limits: limitsOf(100),
  stopGraceMs: 0,
  ...changes,
});

suite("differInLimitsAlone", (test) => {
  const small = aSpec();
  const large = aSpec({ limits: limitsOf(200) });

  test("is true for other limits, in one step or in several", () => {
    assert.ok(differInLimitsAlone([small, large]));
    assert.ok(differInLimitsAlone([small, large, aSpec({ limits: limitsOf(300) })]));
    assert.ok(differInLimitsAlone([small, aSpec({ env: { A: "1" } }), large]));
  });

  test("is false when anything else differs in the end", () => {
    assert.not.ok(differInLimitsAlone([small, aSpec({ limits: limitsOf(200), user: "www" })]));
    assert.not.ok(differInLimitsAlone([small]));
    assert.not.ok(differInLimitsAlone([]));
  });

  test("is false when somebody asked for a restart in between", () => {
    assert.not.ok(differInLimitsAlone([small, small]));
    assert.not.ok(differInLimitsAlone([small, small, large]));
    assert.not.ok(differInLimitsAlone([small, large, large]));
  });
});

suite("planResizes", (test) => {
  const anyLimits = fc.record({
    memoryMaxBytes: fc.integer({ min: 1, max: 100 }),
    cpuMaxMillis: fc.integer({ min: 1, max: 100 }),
    pidsMax: fc.integer({ min: 1, max: 100 }),
  });
  const anyFree = fc.record({
    cpuMillis: fc.integer({ min: -50, max: 200 }),
    memoryBytes: fc.integer({ min: -50, max: 200 }),
    pids: fc.integer({ min: -50, max: 200 }),
  });

  test("never promises more of a node than it has free", () => {
    const changes = fc.array(fc.record({ from: anyLimits, to: anyLimits }), { maxLength: 8 });
    fc.assert(
      fc.property(changes, anyFree, (all, free) => {
        const wishes = all.map((one, index) => ({ ...one, processId: `p-${index}`, nodeId: "n" }));
        const granted = planResizes(wishes, new Map([["n", { free, cpuMillisEach: 60 }]]));
        const taken = wishes.filter(({ processId }) => granted.has(processId));
        const growth = (of: (limits: Limits) => number): number =>
          taken.reduce((sum, { from, to }) => sum + Math.max(0, of(to) - of(from)), 0);
        assert.ok(growth((limits) => limits.memoryMaxBytes) <= Math.max(0, free.memoryBytes));
        assert.ok(growth((limits) => limits.cpuMaxMillis) <= Math.max(0, free.cpuMillis));
        assert.ok(growth((limits) => limits.pidsMax) <= Math.max(0, free.pids));
        assert.ok(taken.every(({ to }) => to.cpuMaxMillis <= 60));
      }),
    );
  });

  test("always grants what asks for no more, wherever the node is known", () => {
    const wish = { processId: "p", nodeId: "n", from: limitsOf(200), to: limitsOf(100) };
    const free = { cpuMillis: -1, memoryBytes: -1, pids: -1 };
    assert.equal([...planResizes([wish], new Map([["n", { free, cpuMillisEach: 100 }]]))], ["p"]);
    assert.equal([...planResizes([wish], new Map())], []);
  });

  test("gives nobody what another is to give back", () => {
    const wishes = [
      { processId: "less", nodeId: "n", from: limitsOf(200), to: limitsOf(100) },
      { processId: "more", nodeId: "n", from: limitsOf(100), to: limitsOf(200) },
    ];
    const free = { cpuMillis: 0, memoryBytes: 50, pids: 0 };
    const rooms = new Map([["n", { free, cpuMillisEach: 100 }]]);
    assert.equal([...planResizes(wishes, rooms)], ["less"]);
  });
});
