import { paced } from "@strata/controller/loops/paced";

import { assert, suite } from "../../support/suite.ts";

suite("paced", (test) => {
  test("rests four times as long as a tick took, a second at most, and says for how long", () => {
    let nowMs = 0;
    let costMs = 10;
    let ticks = 0;
    const tick = paced(
      () => {
        ticks += 1;
        nowMs += costMs;
        return 5000;
      },
      { monotonicMs: () => nowMs, restFactor: 4 },
    );
    assert.equal([tick(), tick(), ticks], [5000, 40, 1]);
    nowMs += 39;
    assert.equal([tick(), ticks], [1, 1]);
    nowMs += 1;
    costMs = 700;
    assert.equal([tick(), ticks], [5000, 2]);
    assert.equal([tick(), ticks], [1000, 2]);
  });

  test("does not rest when somebody waits, and does again after that", () => {
    let ticks = 0;
    let urgent = false;
    let nowMs = 0;
    const tick = paced(
      () => {
        ticks += 1;
        nowMs += 10;
        return 5000;
      },
      { monotonicMs: () => nowMs, restFactor: 1, isUrgent: () => urgent },
    );
    assert.equal([tick(), tick(), ticks], [5000, 10, 1]);
    urgent = true;
    assert.equal([tick(), ticks], [5000, 2]);
    urgent = false;
    assert.equal([tick(), ticks], [10, 2]);
  });
});
