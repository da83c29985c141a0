import { findCycle, findUnready } from "@strata/controller/domain/dependencies";
import { type Counted, countByRatio, planRatios } from "@strata/controller/domain/ratio";
import fc from "fast-check";

import { assert, suite } from "../../support/suite.ts";

const aliases: readonly string[] = ["a", "b", "c", "d", "e", "f"];
const anAlias = fc.constantFrom(...aliases);
const aGraph = fc
  .array(fc.tuple(anAlias, fc.uniqueArray(anAlias)), { maxLength: 6 })
  .map((entries) => new Map(entries));

suite("findCycle", (test) => {
  test("finds a way back exactly where there is one, and the way is one", () => {
    fc.assert(
      fc.property(aGraph, anAlias, (graph, from) => {
        const next = (alias: string): readonly string[] => graph.get(alias) ?? [];
        // By steps alone: what can be reached, widened until nothing is new.
        let reached = new Set<string>(next(from));
        for (let step = 0; step < aliases.length; step += 1)
          reached = new Set([...reached, ...[...reached].flatMap((alias) => [...next(alias)])]);
        const cycle = findCycle(from, next);
        assert.is(cycle !== undefined, reached.has(from));
        if (cycle === undefined) return;
        assert.equal([cycle[0], cycle.at(-1)], [from, from]);
        cycle
          .slice(1)
          .forEach((alias, index) => assert.ok(next(cycle[index] ?? "").includes(alias)));
      }),
    );
  });
});

suite("findUnready", (test) => {
  test("waits for all that is wished, and for at least one", () => {
    const why = (wished: number, ready: number): string | undefined =>
      findUnready([{ alias: "db", seen: { wished, ready } }])?.message;
    assert.is(why(2, 2), undefined);
    assert.is(why(2, 3), undefined);
    assert.match(why(2, 1) ?? "", "1 of 2 processes of db are ready");
    assert.match(why(0, 0) ?? "", "db has no processes to run");
    assert.is(findUnready([{ alias: "db", seen: undefined }])?.code, "DEPENDENCY_NOT_READY");
    assert.is(findUnready([]), undefined);
  });
});

const aCounted = (alias: string, fields: Partial<Counted> = {}): Counted => ({
  alias,
  processes: 1,
  ratio: null,
  bound: (count) => count,
  ...fields,
});

suite("planRatios", (test) => {
  test("rounds up, follows through chains, and keeps to bounds", () => {
    const ratio = { of: "web", processes: 1, per: 2 };
    assert.is(countByRatio(ratio, 3), 2);
    assert.is(countByRatio(ratio, 0), 0);
    assert.equal(
      planRatios([
        aCounted("mail", { ratio: { of: "worker", processes: 3, per: 1 } }),
        aCounted("worker", { ratio, bound: (count) => Math.min(count, 4) }),
        aCounted("web", { processes: 20 }),
      ]),
      [
        { alias: "mail", from: 1, to: 12 },
        { alias: "worker", from: 1, to: 4 },
      ],
    );
  });

  test("leaves a count alone where the other one is gone", () => {
    const orphan = aCounted("worker", { processes: 7, ratio: { of: "web", processes: 1, per: 2 } });
    assert.equal(planRatios([orphan]), []);
  });

  test("is settled after one application wherever ratios make no circle, and always ends", () => {
    const aSubscription = fc.record({
      processes: fc.nat(500),
      ratio: fc.option(
        fc.record({
          of: anAlias,
          processes: fc.integer({ min: 1, max: 9 }),
          per: fc.integer({ min: 1, max: 9 }),
        }),
      ),
      most: fc.nat(1000),
    });
    fc.assert(
      fc.property(fc.array(aSubscription, { minLength: 6, maxLength: 6 }), (chosen) => {
        const all = chosen.map(({ processes, ratio, most }, index) =>
          aCounted(aliases[index] ?? "", {
            processes,
            ratio,
            bound: (count) => Math.min(count, most),
          }),
        );
        const of = new Map(all.map(({ alias, ratio }) => [alias, ratio?.of]));
        const isRound = all.some(({ alias }) =>
          findCycle(alias, (name) => {
            const other = of.get(name);
            return other === undefined ? [] : [other];
          }),
        );
        const changes = new Map(planRatios(all).map(({ alias, to }) => [alias, to]));
        if (isRound) return;
        const after = all.map((one) => ({
          ...one,
          processes: changes.get(one.alias) ?? one.processes,
        }));
        assert.equal(planRatios(after), []);
        after.forEach(({ processes, ratio }, index) =>
          assert.ok(ratio === null || processes <= (chosen[index]?.most ?? 0)),
        );
      }),
    );
  });
});
