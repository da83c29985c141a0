import { applyTable, emptyNetwork } from "@strata/agent/network-table/network-state";
import { createNetworkBook } from "@strata/controller/domain/network/network-book";
import fc from "fast-check";

import { aService } from "../../agent/support/a-network.ts";
import { assert, suite } from "../../support/suite.ts";

type Step =
  | { readonly kind: "put"; readonly id: string; readonly port: number }
  | { readonly kind: "remove"; readonly id: string }
  | { readonly kind: "nodes"; readonly isIngress: boolean }
  | { readonly kind: "route"; readonly token: string }
  | { readonly kind: "ask" };

const id = fc.constantFrom("a", "b", "c", "d");
const step: fc.Arbitrary<Step> = fc.oneof(
  fc.record({ kind: fc.constant("put" as const), id, port: fc.integer({ min: 1, max: 3 }) }),
  fc.record({ kind: fc.constant("remove" as const), id }),
  fc.record({ kind: fc.constant("nodes" as const), isIngress: fc.boolean() }),
  fc.record({ kind: fc.constant("route" as const), token: fc.constantFrom("x", "y") }),
  fc.record({ kind: fc.constant("ask" as const) }),
);

suite("the network book", (test) => {
  test("whoever merges what he is told, whenever he asks, knows what is", () => {
    fc.assert(
      fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
        const book = createNetworkBook();
        let known = emptyNetwork("epoch-1");
        let isIngress = false;
        const ask = (): void => {
          const difference = book.differenceFor("n", known.revision);
          if (difference === undefined) return;
          const next = applyTable(known, { epoch: "epoch-1", boot: known.boot, ...difference });
          assert.ok(next !== undefined, "a difference to what is known");
          known = next ?? known;
        };
        book.setNodes([{ id: "n", address: "192.0.2.1", isIngress }]);
        for (const one of steps) {
          if (one.kind === "put")
            book.putService(
              aService({
                id: one.id,
                ports: [{ name: "http", containerPort: one.port, protocol: "tcp" }],
              }),
            );
          if (one.kind === "remove") book.removeService(one.id);
          if (one.kind === "nodes") {
            isIngress = one.isIngress;
            book.setNodes([{ id: "n", address: "192.0.2.1", isIngress }]);
          }
          if (one.kind === "route")
            book.setIngress({
              routes: [],
              certificates: [],
              challenges: [{ token: one.token, answer: "" }],
            });
          if (one.kind === "ask") ask();
        }
        ask();
        const whole = book.differenceFor("n", 0);
        const all = new Map(whole?.services.map((service) => [service.id, service]));
        assert.equal(Object.fromEntries(known.services), Object.fromEntries(all));
        assert.equal(known.nodes, whole?.nodes);
        assert.equal(known.ingress, whole?.ingress ?? null);
      }),
    );
  });

  test("who knows less than what is remembered of the removed is told everything", () => {
    const book = createNetworkBook();
    book.setNodes([{ id: "n", address: "192.0.2.1", isIngress: false }]);
    const early = book.revision();
    for (let number = 0; number < 10_001; number += 1) {
      book.putService(aService({ id: `s${number}`, endpoints: [] }));
      book.removeService(`s${number}`);
    }
    assert.is(book.differenceFor("n", early)?.since, 0);
    assert.equal(book.differenceFor("n", book.revision() - 1)?.removed, ["s10000"]);
  });
});
