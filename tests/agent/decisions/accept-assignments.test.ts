import { acceptAssignments, DesiredState } from "@strata/agent/accept-assignments";
import type { Assignment, Assignments } from "@strata/protocol/agent/messages";
import { parseDigest } from "@strata/protocol/oci/digest";
import fc from "fast-check";

import { assert, suite } from "../../support/suite.ts";
import { anAssignment } from "../support/an-assignment.ts";

const known = (...assignments: readonly Assignment[]): DesiredState => ({
  version: 1,
  epoch: "old",
  revision: 7,
  assignments: [...assignments],
});
const message = (part: Partial<Assignments>): Assignments => ({
  epoch: "old",
  revision: 8,
  assignments: [],
  streams: [],
  ...part,
});
const web = (processId: string, part: Partial<Assignment> = {}): Assignment =>
  anAssignment("true", { processId, fence: 5, ...part });
const idsOf = ({ assignments }: DesiredState): readonly string[] =>
  assignments.map(({ processId }) => processId);

suite("acceptAssignments", (test) => {
  test("keeps what shall be fetched beforehand, for the next life", () => {
    const prefetch = [{ repository: "app", digest: parseDigest(`sha256:${"a".repeat(64)}`) }];
    const { desired } = acceptAssignments(known(), message({ prefetch }));
    assert.equal(DesiredState.parse(JSON.parse(JSON.stringify(desired))).prefetch, prefetch);
  });

  test("takes the whole list of the epoch that it knows", () => {
    const { desired, refusals } = acceptAssignments(
      known(web("a"), web("b")),
      message({ assignments: [web("b", { desired: "stopped" }), web("c")] }),
    );
    assert.equal(idsOf(desired), ["b", "c"]);
    assert.is(desired.assignments[0]?.desired, "stopped");
    assert.is(desired.revision, 8);
    assert.equal(refusals, []);
  });

  test("refuses a smaller fence and keeps what it knows", () => {
    const { desired, refusals } = acceptAssignments(
      known(web("a")),
      message({ assignments: [web("a", { fence: 4, desired: "stopped" })] }),
    );
    assert.is(desired.assignments[0]?.desired, "running");
    assert.is(refusals.length, 1);
  });

  test("takes a process id that could be no host name for an attack", () => {
    for (const processId of ["../../etc", "A", "a\nb", "", "a".repeat(64)]) {
      const { desired } = acceptAssignments(known(), message({ assignments: [web(processId)] }));
      assert.equal(desired.assignments, []);
    }
  });

  test("never loses or changes work on the word of an unconfirmed epoch", () => {
    const assignments = fc.uniqueArray(
      fc.record({
        processId: fc.constantFrom("a", "b", "c", "d"),
        fence: fc.nat(9),
        desired: fc.constantFrom("running" as const, "stopped" as const),
      }),
      { selector: ({ processId }) => processId },
    );
    fc.assert(
      fc.property(assignments, assignments, (before, after) => {
        const state = known(...before.map((part) => web(part.processId, part)));
        const { desired } = acceptAssignments(
          state,
          message({ epoch: "new", assignments: after.map((part) => web(part.processId, part)) }),
        );
        assert.is(desired.epoch, "old");
        for (const assignment of state.assignments) {
          assert.equal(
            desired.assignments.find(({ processId }) => processId === assignment.processId),
            assignment,
          );
        }
      }),
    );
  });

  test("takes no other version of the agent from an unconfirmed epoch", () => {
    const upgrade = { id: "u-1", sha256: "0".repeat(64) };
    const of = (part: Partial<Assignments>): unknown =>
      acceptAssignments(known(), message({ upgrade, ...part })).upgrade;
    assert.equal(of({}), upgrade);
    assert.is(of({ epoch: "new" }), undefined);
    assert.equal(of({ epoch: "new", follows: ["old"] }), upgrade);
  });

  test("follows to a new epoch that an operator confirmed", () => {
    const { desired } = acceptAssignments(
      known(web("a")),
      message({ epoch: "new", follows: ["older", "old"], assignments: [web("b")] }),
    );
    assert.is(desired.epoch, "new");
    assert.equal(idsOf(desired), ["b"]);
  });
});
