import { createRateLimiter } from "@strata/controller/domain/token-bucket";
import * as fc from "fast-check";

import { assert, suite } from "../../support/suite.ts";

suite("createRateLimiter", (test) => {
  test("lets a minute's worth pass at once, then as many as the time allows", () => {
    let now = 0;
    const limiter = createRateLimiter({ monotonicMs: () => now, keysMax: 10 });
    const take = (): boolean => limiter.take("a", 60).isAllowed;
    assert.is(Array.from({ length: 100 }, take).filter(Boolean).length, 60);
    assert.is(limiter.take("a", 60).resetSeconds, 1);
    now += 2500;
    assert.equal([take(), take(), take()], [true, true, false]);
    assert.ok(limiter.take("b", 60).isAllowed, "another key has a bucket of its own");
  });

  test("never lets more pass in any time than it holds and is filled with", () => {
    const steps = fc.array(fc.tuple(fc.nat(5000), fc.nat(20)), { maxLength: 50 });
    fc.assert(
      fc.property(steps, fc.integer({ min: 1, max: 600 }), (sequence, perMinute) => {
        let now = 0;
        const limiter = createRateLimiter({ monotonicMs: () => now, keysMax: 10 });
        let passed = 0;
        for (const [waitMs, asks] of sequence) {
          now += waitMs;
          for (let ask = 0; ask < asks; ask += 1)
            if (limiter.take("a", perMinute).isAllowed) passed += 1;
        }
        assert.ok(passed <= perMinute + (now * perMinute) / 60_000 + 1e-6);
      }),
    );
  });

  test("remembers a bounded number of keys", () => {
    const limiter = createRateLimiter({ monotonicMs: () => 0, keysMax: 2 });
    limiter.take("a", 1);
    assert.not.ok(limiter.take("a", 1).isAllowed);
    limiter.take("b", 1);
    limiter.take("c", 1);
    assert.ok(limiter.take("a", 1).isAllowed, "forgotten, and so full again");
  });
});
