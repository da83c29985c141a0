import { createAgenda } from "@strata/controller/domain/agenda";

import { assert, suite } from "../../support/suite.ts";

const rows = ["a"];

suite("agenda", (test) => {
  test("what was never settled is due", () => {
    assert.ok(createAgenda().isDue("web", { facts: [rows], nowMs: 0 }));
  });
  test("what was settled is due when a fact is another, or its time has come", () => {
    const agenda = createAgenda();
    agenda.settle("web", { facts: [rows, "world 1"], fromMs: 1000, untilMs: 2000 });
    assert.not.ok(agenda.isDue("web", { facts: [rows, "world 1"], nowMs: 1999 }));
    assert.ok(agenda.isDue("web", { facts: [["a"], "world 1"], nowMs: 1999 }));
    assert.ok(agenda.isDue("web", { facts: [rows, "world 2"], nowMs: 1999 }));
    assert.ok(agenda.isDue("web", { facts: [rows, "world 1"], nowMs: 2000 }));
    assert.ok(agenda.isDue("web", { facts: [rows, "world 1"], nowMs: 999 }));
  });
  test("what is gone is forgotten", () => {
    const agenda = createAgenda();
    for (const id of ["web", "api"]) agenda.settle(id, { facts: [rows], fromMs: 0, untilMs: 1000 });
    agenda.keepOnly(new Set(["api"]));
    assert.ok(agenda.isDue("web", { facts: [rows], nowMs: 1 }));
    assert.not.ok(agenda.isDue("api", { facts: [rows], nowMs: 1 }));
  });
});
