import {
  canMove,
  type Course,
  isOver,
  judgeRollout,
  type RolloutRecord,
} from "@strata/controller/domain/rollout";
/** What becomes of a roll-out, decided from what is seen of its processes alone. */
import { canariesOf, holdOf, roomOf, usualRollout } from "@strata/controller/domain/rollout-policy";
import { changedFields } from "@strata/controller/domain/spec-changes";
import { RolloutPolicyInput, rolloutStates } from "@strata/protocol/api/rollouts";
import { parseDigest } from "@strata/protocol/oci/digest";
import fc from "fast-check";

import { assert, suite } from "../../support/suite.ts";

const NOW = 10_000_000;
const policyOf = (fields: object): typeof usualRollout => RolloutPolicyInput.parse(fields);

const aRecord = (changes: Partial<RolloutRecord> = {}): RolloutRecord => ({
  state: "progressing",
  reason: null,
  isPromoted: true,
  progressAtMs: NOW,
  ...changes,
});
const aCourse = (changes: Partial<Course> = {}): Course => ({
  wanted: 2,
  updated: 1,
  settled: 0,
  ready: 0,
  older: 2,
  readyForMs: Infinity,
  lastReadyAtMs: 0,
  failure: undefined,
  obstacle: undefined,
  ...changes,
});

const anyRecord = fc.record({
  state: fc.constantFrom(...rolloutStates),
  reason: fc.constantFrom(null, "why"),
  isPromoted: fc.boolean(),
  progressAtMs: fc.integer({ min: 0, max: NOW }),
});
const small = fc.integer({ min: 0, max: 3 });
const anyCourse = fc.record({
  wanted: small,
  updated: small,
  settled: small,
  ready: small,
  older: small,
  readyForMs: fc.constantFrom(0, 30_000, Infinity),
  lastReadyAtMs: fc.integer({ min: 0, max: NOW }),
  failure: fc.constantFrom(undefined, "it failed"),
  obstacle: fc.constantFrom(undefined, "it waits"),
});
const anyJudging = fc.record({
  policy: fc.constantFrom(usualRollout, policyOf({ canary: 1, canaryFor: "10s" })),
  hasCanaries: fc.boolean(),
  nowMs: fc.constant(NOW),
  isHeld: fc.boolean(),
});

suite("judgeRollout", (test) => {
  test("makes legal moves alone, and none for what is paused or over", () => {
    fc.assert(
      fc.property(anyRecord, anyCourse, anyJudging, (record, course, judging) => {
        const next = judgeRollout(record, course, judging);
        assert.ok(next.state === record.state || canMove(record.state, next.state));
        if (record.state === "paused" || isOver(record.state)) assert.equal(next, record);
        assert.ok(next.progressAtMs >= record.progressAtMs);
        assert.ok(record.isPromoted ? next.isPromoted : true);
      }),
      { numRuns: 2000, includeErrorInReport: true },
    );
  });

  test("completes only with every wished process settled and none of an older generation left", () => {
    fc.assert(
      fc.property(anyRecord, anyCourse, anyJudging, (record, course, judging) => {
        const next = judgeRollout(record, course, judging);
        if (next.state !== "complete" || record.state === "complete") return;
        assert.ok(course.settled >= course.wanted && course.older === 0);
      }),
      { numRuns: 2000, includeErrorInReport: true },
    );
  });

  test("fails only for a reason, and never while nodes are silent in great number but for a failure", () => {
    fc.assert(
      fc.property(anyRecord, anyCourse, anyJudging, (record, course, judging) => {
        const next = judgeRollout(record, course, judging);
        if (next.state !== "failed" || record.state === "failed") return;
        assert.ok(next.reason !== null);
        if (judging.isHeld) assert.ok(course.failure !== undefined);
      }),
      { numRuns: 2000, includeErrorInReport: true },
    );
  });

  test("takes a process that becomes ready for progress, and its deadline counts from there", () => {
    const judging = { policy: usualRollout, hasCanaries: false, nowMs: NOW, isHeld: false };
    const record = aRecord({ progressAtMs: NOW - 600_000 });
    assert.is(judgeRollout(record, aCourse(), judging).state, "failed");
    const course = aCourse({ lastReadyAtMs: NOW - 1000 });
    const next = judgeRollout(record, course, judging);
    assert.equal([next.state, next.progressAtMs], ["progressing", NOW - 1000]);
  });

  test("does not take a failed generation for good because nothing of it shall run", () => {
    const judging = { policy: usualRollout, hasCanaries: false, nowMs: NOW, isHeld: false };
    const course = aCourse({ wanted: 0, older: 0 });
    assert.is(judgeRollout(aRecord({ state: "failed" }), course, judging).state, "failed");
    assert.is(judgeRollout(aRecord(), course, judging).state, "complete");
  });
});

suite("a policy", (test) => {
  test("rounds a surge up and a lack down, and never leaves no way at all", () => {
    const room = (fields: object, count: number): readonly number[] => {
      const { surge, unavailable } = roomOf(policyOf(fields), count);
      return [surge, unavailable];
    };
    assert.equal(
      [1, 4, 5, 100].map((count) => room({}, count)[0]),
      [1, 1, 2, 25],
    );
    assert.equal(room({ maxSurge: "10%", maxUnavailable: "50%" }, 3), [1, 1]);
    assert.equal(room({ maxSurge: 0, maxUnavailable: "25%" }, 3), [0, 1]);
    assert.equal(room({ maxSurge: 3, maxUnavailable: 2 }, 1), [3, 2]);
  });

  test("has at least one canary where it wants any, and no more than there are processes", () => {
    const canaries = (canary: number | string, count: number): number =>
      canariesOf(policyOf({ canary }), count);
    assert.equal(
      [canaries("1%", 3), canaries(5, 3), canaries("0%", 3), canaries(0, 3)],
      [1, 3, 0, 0],
    );
    assert.is(canariesOf(usualRollout, 3), 0);
  });

  test("holds for a pause before it holds for canaries, and nothing without a generation before", () => {
    const policy = policyOf({ canary: 1 });
    const held = { isPromoted: false, held: 2, base: 1 };
    assert.equal(holdOf(held, policy, 4), { newest: 2, base: 1 });
    assert.equal(holdOf({ ...held, held: null }, policy, 4), { newest: 1, base: 1 });
    assert.is(holdOf({ ...held, held: null, isPromoted: true }, policy, 4), null);
    assert.is(holdOf({ ...held, base: null }, policy, 4), null);
  });
});

suite("changedFields", (test) => {
  test("names what differs and no values", () => {
    const spec: Parameters<typeof changedFields>[1] = {
      tenant: "default",
      subscription: "web",
      cartridge: "web",
      image: { repository: "web", digest: parseDigest(`sha256:${"a".repeat(64)}`) },
      env: { PASSWORD: "one" },
      ports: [],
      limits: { memoryMaxBytes: 1, cpuMaxMillis: 1, pidsMax: 1 },
      stopGraceMs: 1,
    };
    const limits = { ...spec.limits, pidsMax: 2 };
    const after = { ...spec, env: { PASSWORD: "two" }, limits, stopGraceMs: 2, user: "1" };
    assert.equal(changedFields(spec, after), ["env", "resources", "stopGrace", "user"]);
    assert.equal(changedFields(undefined, after), []);
  });
});
