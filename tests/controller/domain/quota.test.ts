import { type Claim, findBreach, planQuotaRefusals } from "@strata/controller/domain/quota";
import * as fc from "fast-check";

import { assert, suite } from "../../support/suite.ts";

const size = fc.record({
  cpuMaxMillis: fc.integer({ min: 1, max: 4000 }),
  memoryMaxBytes: fc.integer({ min: 1, max: 4096 }),
});
const claims: fc.Arbitrary<readonly Claim[]> = fc
  .array(
    fc.record({
      tenant: fc.constantFrom("a", "b"),
      count: fc.nat(6),
      placed: fc.array(size, { maxLength: 6 }),
      waiting: fc.array(size, { maxLength: 6 }),
    }),
    { maxLength: 6 },
  )
  .map((some) =>
    some.map((claim, index) => ({
      ...claim,
      waiting: claim.waiting.map((limits, place) => ({ processId: `${index}-${place}`, limits })),
    })),
  );
const quota = { processes: 5, cpu: 6000, memory: 8000 };

suite("planQuotaRefusals", (test) => {
  test("lets growth of a tenant come to its quota and no further", () => {
    fc.assert(
      fc.property(claims, (all) => {
        const refused = planQuotaRefusals(all, () => quota);
        for (const tenant of ["a", "b"]) {
          const own = all.filter((claim) => claim.tenant === tenant);
          const before = own.flatMap(({ placed, count }) => placed.slice(0, count));
          const grown = own.flatMap(({ placed, count, waiting }) =>
            waiting
              .slice(0, Math.max(0, count - placed.length))
              .filter(({ processId }) => !refused.has(processId))
              .map(({ limits }) => limits),
          );
          if (grown.length === 0) continue;
          const sum = [...before, ...grown];
          assert.ok(sum.length <= quota.processes);
          assert.ok(sum.reduce((cpu, one) => cpu + one.cpuMaxMillis, 0) <= quota.cpu);
          assert.ok(sum.reduce((memory, one) => memory + one.memoryMaxBytes, 0) <= quota.memory);
        }
      }),
    );
  });

  test("refuses nothing that replaces, and nothing of a tenant without a quota", () => {
    fc.assert(
      fc.property(claims, (all) => {
        assert.is(planQuotaRefusals(all, () => undefined).size, 0);
        const refused = planQuotaRefusals(all, () => ({ processes: 0 }));
        for (const { waiting, count, placed } of all)
          for (const { processId } of waiting.slice(Math.max(0, count - placed.length)))
            assert.not.ok(refused.has(processId));
      }),
    );
  });

  test("is the same for the same claims", () => {
    fc.assert(
      fc.property(claims, (all) => {
        const plan = (): unknown => [...planQuotaRefusals(all, () => quota)];
        assert.equal(plan(), plan());
      }),
    );
  });
});

suite("findBreach", (test) => {
  test("names what is too much, and leaves alone what did not grow", () => {
    const before = { processes: 4, cpu: 4000, memory: 1024 };
    const after = { ...before, processes: 3 };
    assert.is(findBreach({ processes: 2 }, { before, after }), undefined);
    assert.is(findBreach({ processes: 2 }, { before: after, after: before }), "processes 4 of 2");
    const more = { ...before, cpu: 4500 };
    assert.is(findBreach({ cpu: 4000 }, { before, after: more }), "cpu 4.5 of 4");
  });
});
