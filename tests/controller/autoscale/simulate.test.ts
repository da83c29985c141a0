import {
  asFixedPeak,
  asKubernetes,
  chooseLikeReplicaSet,
} from "@strata/controller/domain/simulate/baselines";
import { compileCurve } from "@strata/controller/domain/simulate/curve";
import { createEventQueue } from "@strata/controller/domain/simulate/event-queue";
import { type Scenario, ScenarioInput } from "@strata/controller/domain/simulate/scenario";
import { beginSimulation, peakLoads, simulate } from "@strata/controller/domain/simulate/simulate";
import { parseTraceCsv, parseTraceJson } from "@strata/controller/domain/simulate/trace";
import fc from "fast-check";

import { assert, suite, throwsWithCode } from "../../support/suite.ts";
import { aScenario, HOUR_MS } from "./simulate-support.ts";

const step = (from: number, to: number, at = "10m") => ({ load: { kind: "step", from, to, at } });

suite("event queue", (test) => {
  test("runs events in order of time, and those of one time in order of their making", () => {
    fc.assert(
      fc.property(fc.array(fc.integer({ min: 0, max: 20 })), (times) => {
        const queue = createEventQueue(0);
        const ran: [number, number][] = [];
        times.forEach((at, index) => queue.schedule(at, () => ran.push([queue.now(), index])));
        queue.runUntil(100);
        const wanted = times
          .map((at, index): [number, number] => [at, index])
          .sort(([a, i], [b, j]) => a - b || i - j);
        assert.equal(ran, wanted);
      }),
    );
  });

  test("stops at its end and goes on from there", () => {
    const queue = createEventQueue(0);
    const ran: number[] = [];
    for (const at of [1, 5, 9]) queue.schedule(at, () => ran.push(at));
    queue.runUntil(5);
    assert.equal([ran, queue.now()], [[1, 5], 5]);
    queue.runUntil(9);
    assert.equal(ran, [1, 5, 9]);
  });
});

suite("loads", (test) => {
  test("step, sine and square are what they say", () => {
    const at = (curve: Parameters<typeof compileCurve>[0], times: readonly number[]) =>
      times.map((ms) => Math.round(compileCurve(curve, {})(ms)));
    assert.equal(at({ kind: "step", from: 1, to: 5, at: 10 }, [0, 9, 10]), [1, 1, 5]);
    assert.equal(at({ kind: "square", low: 1, high: 5, period: 20 }, [0, 9, 10, 20]), [1, 1, 5, 1]);
    assert.equal(
      at({ kind: "sine", mean: 10, amplitude: 5, period: 40 }, [0, 10, 30]),
      [10, 15, 5],
    );
  });

  test("a trace is joined by lines, scaled, and repeated", () => {
    const trace = parseTraceCsv("# from nowhere\nseconds,requests\n0,10\n60,30\n120,20\n");
    const load = compileCurve({ kind: "trace", trace: "t", scale: 2 }, { t: trace });
    assert.equal(
      [0, 30_000, 60_000, 150_000, 180_000, 210_000].map(load),
      [20, 40, 60, 30, 20, 40],
    );
    assert.equal([210_000, 30_000].map(load), [40, 40], "also backwards");
  });

  test("bad traces are refused with the line", () => {
    assert.match(throwsWithCode(() => parseTraceCsv("0,1\n60;2\n"), "INVALID").message, /line 2/);
    throwsWithCode(() => parseTraceCsv(""), "INVALID");
    throwsWithCode(() => parseTraceCsv("0,1\n0,2\n"), "INVALID");
    throwsWithCode(() => parseTraceJson("[[0,-1]]"), "INVALID");
    throwsWithCode(() => parseTraceJson("{"), "INVALID");
    assert.equal(parseTraceJson("[[0,1],[2,3]]"), [
      { at: 0, value: 1 },
      { at: 2000, value: 3 },
    ]);
  });

  test("a run that is carried on bit by bit is the same run", () => {
    const scenario = aScenario({ subscription: step(500, 3000), scenario: { duration: "20m" } });
    const run = beginSimulation(scenario);
    for (const share of [0.1, 0.7, 0.3, 1]) run.advance(share);
    assert.equal(run.finish(), simulate(scenario));
  });

  test("scenarios with names that lead nowhere or are there twice are refused with the path", () => {
    const provider = { provider: "c", flavor: "m", price: 1 };
    const scenario = {
      name: "bad",
      duration: "1h",
      learn: "1h",
      providers: [{ name: "a" }, { name: "a" }],
      partitions: [{ name: "p", policy: { providers: [provider] } }],
      subscriptions: [
        {
          name: "web",
          partition: "q",
          capacity: 1,
          load: { kind: "step", from: 1, to: 1, at: 0 },
          policy: { max: 1 },
        },
      ],
      failures: [{ kind: "nodes", partition: "r", at: 0, percent: 50 }],
    };
    const { error } = ScenarioInput.safeParse(scenario);
    assert.equal(
      error?.issues.map(({ path }) => path.join(".")),
      [
        "providers.1.name",
        "subscriptions.0.partition",
        "partitions.0.policy.providers.0.provider",
        "partitions.0.policy.providers.0.capacity",
        "failures.0.partition",
        "learn",
      ],
    );
  });
});

suite("simulation", (test) => {
  test("gives the same result every time", () => {
    const scenario = aScenario({ subscription: step(500, 3000), scenario: { duration: "40m" } });
    assert.equal(simulate(scenario), simulate(scenario));
  });

  test("bills what runs: one node for an hour costs its price", () => {
    const { report } = simulate(aScenario({ subscription: { burstiness: 0, ...step(100, 100) } }));
    assert.equal(
      [report.cost, report.nodeHours, report.peakNodes, report.simulatedHours],
      [1, 1, 1, 1],
    );
    assert.equal([report.violated, report.changes], [0, 0]);
    assert.is(Math.round(report.utilisation * 100), 50, "100 a second on two processes of 100");
  });

  test("counts only what comes after the learning time", () => {
    const scenario = aScenario({ subscription: step(100, 5000, "5m"), scenario: { learn: "50m" } });
    const { report } = simulate(scenario);
    assert.ok(Math.abs(report.simulatedHours - 1 / 6) < 1e-9);
    assert.is(report.nodesAdded, 0, "they were added before");
  });

  test("rents nodes for a step to ten times the load, and serves it", () => {
    const { report, series } = simulate(aScenario({ subscription: step(500, 5000) }));
    const last = series[0]?.points.at(-1);
    assert.ok((last?.desired ?? 0) >= 56 && (last?.desired ?? 0) <= 72, `${last?.desired} wished`);
    assert.is(last?.ready, last?.desired);
    assert.ok(report.violationSeconds < 240, `${report.violationSeconds} s of violations`);
  });

  test("grows from zero, nodes too, and goes back to zero", () => {
    const scenario = aScenario({
      policy: { min: 0, idleAfter: 120 },
      subscription: { load: { kind: "square", low: 0, high: 500, period: "2h" }, burstiness: 0 },
      scenario: { duration: "3h" },
    });
    const { report, series } = simulate(scenario);
    const at = (hours: number) =>
      series[0]?.points.findLast((point) => point.at <= hours * HOUR_MS);
    assert.equal([at(0.9)?.desired, at(0.9)?.nodes], [0, 0]);
    assert.ok((at(1.9)?.ready ?? 0) >= 5);
    assert.equal([at(2.9)?.desired, at(2.9)?.nodes], [0, 0]);
    assert.ok(report.violationSeconds < 150, "a VM's boot and little more");
  });

  test("takes another provider when one refuses or makes VMs that never join", () => {
    for (const how of ["refuses", "never-joins"]) {
      const failure = { kind: "provider", provider: "a", from: 0, to: "1h", how };
      const scenario = aScenario({
        subscription: step(100, 3000),
        partition: {
          joinTimeout: "3m",
          providers: ["a", "b"].map((provider) => ({
            provider,
            flavor: "m",
            capacity: { cpu: 4, memory: "8Gi", pids: 8000 },
            price: provider === "a" ? 1 : 2,
          })),
        },
        scenario: { failures: [failure] },
      });
      const { series, report } = simulate(scenario);
      const last = series[0]?.points.at(-1);
      assert.ok((last?.ready ?? 0) >= 34, `${how}: ${last?.ready} ready`);
      assert.ok(report.cost > report.nodeHours * 1.2, `${how}: nodes of b are the dearer ones`);
    }
  });

  test("replaces 30 % of the nodes that are lost at once", () => {
    const failure = { kind: "nodes", partition: "p", at: "20m", percent: 30 };
    const scenario = aScenario({
      subscription: step(6000, 6000),
      scenario: { failures: [failure] },
    });
    const { series, report } = simulate(scenario);
    const points = series[0]?.points ?? [];
    const before = points.findLast(({ at }) => at < 20 * 60_000)?.ready ?? 0;
    const low = Math.min(...points.map(({ ready }) => ready));
    assert.ok(low < before * 0.75, "it did hurt");
    assert.ok(
      (points.findLast(({ at }) => at < 25 * 60_000)?.ready ?? 0) >= before * 0.9,
      "and was mended in five minutes",
    );
    assert.ok(report.nodesAdded >= 3);
  });

  test("moves processes off a little-used node before it goes", () => {
    const scenario = aScenario({
      subscription: { ...step(4000, 2600), burstiness: 0 },
      partition: { remove: { below: 90, belowAfter: 60, afterAdd: 0, emptyAfter: 60 } },
      policy: { stabilisation: { shrink: 60 }, rates: { shrink: { percent: 50 } } },
      scenario: { duration: "2h", victims: "replica-set" },
    });
    const { report } = simulate(scenario);
    assert.ok(report.moves > 0);
    assert.is(report.violated, 0);
  });
});

suite("baselines", (test) => {
  test("are the defaults of Kubernetes, as policies", () => {
    const { subscriptions, partitions, victims } = asKubernetes(aScenario());
    const policy = subscriptions[0]?.policy;
    assert.equal(
      [policy?.sampleInterval, policy?.panic.threshold, policy?.forecast.enabled],
      [15_000, null, false],
    );
    assert.equal(policy?.rates.shrink, { processes: 0, percent: 100, period: 15_000 });
    assert.equal(
      policy?.metrics.map(({ target }) => target),
      [80],
    );
    const remove = partitions[0]?.policy.remove;
    assert.equal([remove?.below, remove?.belowAfter, remove?.emptyAfter], [50, 600_000, 600_000]);
    assert.equal(
      [partitions[0]?.policy.packing.strategy, partitions[0]?.interval, victims],
      ["spread", 10_000, "replica-set"],
    );
  });

  test("of Kubernetes aim at 80 % of what a process carries, or at the scenario's own targets", () => {
    const metrics = [
      { kind: "requests", target: 95 },
      { kind: "in-flight", target: 4.9 },
      { kind: "cpu", target: 95 },
      { kind: "custom", name: "queue", target: 7, interval: 15, activation: 0 },
    ];
    const scenario = aScenario({ policy: { metrics } });
    const targets = (of: Scenario) =>
      of.subscriptions[0]?.policy.metrics.map(({ target }) => target);
    // 100 a second each, of which every request is in flight for 50 ms.
    assert.equal(targets(asKubernetes(scenario)), [80, 4, 80, 7]);
    assert.equal(targets(asKubernetes(scenario, "same")), [95, 4.9, 95, 7]);
  });

  test("a fixed peak never violates and never changes", () => {
    const scenario = aScenario({
      subscription: {
        load: { kind: "sine", mean: 2000, amplitude: 1500, period: "30m" },
        burstiness: 0,
      },
    });
    const { report } = simulate(asFixedPeak(scenario, peakLoads(scenario)));
    assert.equal([report.violated, report.countChanges], [0, 0]);
    assert.is(Math.round(report.utilisation * 100), 57);
  });

  test("a ReplicaSet gives up where most of the set are together, then the newest", () => {
    const on = (id: string, nodeId: string, createdAt: number) => ({
      id,
      nodeId,
      createdAt,
      inFlight: 0,
      cpuPercent: 0,
      protected: false,
    });
    const candidates = [on("a", "n1", 1), on("b", "n2", 2), on("c", "n2", 3)];
    assert.equal(chooseLikeReplicaSet(candidates, 2), ["c", "b"]);
  });
});
