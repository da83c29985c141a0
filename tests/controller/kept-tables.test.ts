import { createOrderedRows } from "@strata/controller/store/ordered-rows";
import fc from "fast-check";

import { assert, suite } from "../support/suite.ts";

type Row = { readonly id: string; readonly at: number };
type Step = { readonly kind: "put" | "drop" | "look"; readonly id: string };

const steps = fc.array(
  fc.record<Step>({
    kind: fc.constantFrom("put", "drop", "look"),
    id: fc.constantFrom("a", "b", "c", "d", "e"),
  }),
  { maxLength: 60 },
);

function byAge(left: Row, right: Row): number {
  return left.at - right.at;
}

suite("ordered rows", (test) => {
  test("give the same as sorting all of them, whatever happened in between", () => {
    fc.assert(
      fc.property(steps, fc.infiniteStream(fc.nat()), (some, noise) => {
        const rows = createOrderedRows<Row>(byAge);
        const model = new Map<string, Row>();
        let at = 0;
        for (const { kind, id } of some) {
          if (kind === "put") {
            // Now and then one comes that is older than those that are known.
            const age = Number(noise.next().value) % 3 === 0 ? -(at += 1) : (at += 1);
            const row = { id, at: model.get(id)?.at ?? age };
            rows.put(row);
            model.set(id, row);
          } else if (kind === "drop") {
            rows.drop(id);
            model.delete(id);
          }
          if (kind !== "look") continue;
          assert.equal(rows.all(), [...model.values()].toSorted(byAge));
        }
        assert.equal(rows.all(), [...model.values()].toSorted(byAge));
        assert.equal(rows.size(), model.size);
      }),
    );
  });
  test("are the same array until one of them changes", () => {
    const rows = createOrderedRows<Row>(byAge);
    rows.put({ id: "a", at: 1 });
    const before = rows.all();
    assert.is(rows.all(), before);
    rows.put({ id: "a", at: 1 });
    assert.is.not(rows.all(), before);
  });
});
