import { createReportOrder, type KnownProcess, planReport } from "@strata/controller/domain/report";
import type { ProcessReport } from "@strata/protocol/agent/messages";
import { canTransition, processStates } from "@strata/protocol/agent/process-state";
import fc from "fast-check";

import { assert, suite } from "../../support/suite.ts";

const reportable = processStates.filter((state) => state !== "pending" && state !== "suspect");

const anyCase = fc.record({
  state: fc.constantFrom(...processStates),
  reported: fc.constantFrom(...reportable),
  fence: fc.integer({ min: 0, max: 6 }),
  desired: fc.constantFrom("running" as const, "stopped" as const),
});

function aKnown(changes: Partial<KnownProcess> = {}): KnownProcess {
  return {
    id: "p-1",
    assignmentId: "a-1",
    fence: 3,
    desired: "running",
    decidedRevision: 5,
    state: "starting",
    ready: false,
    pid: null,
    restarts: 0,
    address: null,
    address6: null,
    ports: [],
    startedAt: null,
    lastExit: null,
    problem: null,
    ...changes,
  };
}

function aReport(changes: Partial<ProcessReport> = {}): ProcessReport {
  return {
    processId: "p-1",
    assignmentId: "a-1",
    fence: 3,
    state: "running",
    ready: true,
    restarts: 0,
    ports: [],
    ...changes,
  };
}

suite("planReport", (test) => {
  test("never moves a process where its state cannot go, and never for an older fence", () => {
    fc.assert(
      fc.property(anyCase, ({ state, reported, fence, desired }) => {
        const known = aKnown({ state, desired });
        const effects = planReport([known], {
          revision: 9,
          processes: [aReport({ state: reported, fence })],
        });
        for (const effect of effects) {
          assert.ok(fence >= known.fence);
          if (effect.kind === "update") assert.ok(canTransition(state, effect.fields.state));
          if (effect.kind === "overtake") assert.ok(effect.fence > fence);
        }
      }),
    );
  });

  test("the same report a second time has no effect", () => {
    const report = { revision: 9, processes: [aReport({ pid: 7 })] };
    const [effect] = planReport([aKnown()], report);
    if (effect?.kind !== "update") throw new Error("no update");
    assert.equal(planReport([{ ...aKnown(), ...effect.fields }], report), []);
  });

  test("a process that runs on while it shall stop is draining, and one that does not run is not ready", () => {
    const [effect] = planReport([aKnown({ desired: "stopped", state: "draining" })], {
      revision: 9,
      processes: [aReport()],
    });
    assert.is(effect?.kind === "update" && effect.fields.state, "draining");
    const [starting] = planReport([aKnown({ state: "pulling" })], {
      revision: 9,
      processes: [aReport({ state: "starting" })],
    });
    assert.is(starting?.kind === "update" && starting.fields.ready, false);
  });

  test("one that the node does not mention is gone only where it was to stop and the node knew", () => {
    const silent = (known: KnownProcess, revision: number): number =>
      planReport([known], { revision, processes: [] }).length;
    assert.is(silent(aKnown(), 9), 0);
    assert.is(silent(aKnown({ desired: "stopped" }), 4), 0);
    assert.is(silent(aKnown({ desired: "stopped" }), 5), 1);
  });
});

suite("the order of reports", (test) => {
  test("drops repeated and late ones, within one life of the agent and of lives before", () => {
    const order = createReportOrder();
    const isNew = (bootId: string, sequence: number): boolean =>
      order.isNew("node-1", { bootId, sequence });
    assert.ok(isNew("boot-1", 1));
    assert.ok(isNew("boot-1", 3));
    assert.not.ok(isNew("boot-1", 3));
    assert.not.ok(isNew("boot-1", 2));
    assert.ok(isNew("boot-2", 1));
    assert.not.ok(isNew("boot-1", 4));
    order.forget("node-1");
    assert.ok(isNew("boot-1", 1));
  });
});
