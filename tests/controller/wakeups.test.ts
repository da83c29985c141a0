import { setImmediate as nextTurn } from "node:timers/promises";

import { createWakeups, type Wakeups } from "@strata/controller/loops/wakeups";
import fc from "fast-check";

import { assert, suite } from "../support/suite.ts";

type Poll = { known: number; isOver: boolean; readonly gone: AbortController };

/** A long poll as the assignments route makes it: looks, then waits, until it is let go. */
async function poll(wakeups: Wakeups, revision: () => number, client: Poll): Promise<void> {
  while (!client.isOver) {
    client.known = revision();
    const { signal } = client.gone;
    client.isOver = (await wakeups.wait("node", { timeoutMs: 60_000, signal })) === "let-go";
  }
}

suite("wake-ups", (test) => {
  test("are never lost, whatever comes between look, wait, wake, hang-up and eviction", async () => {
    const actions = fc.array(fc.constantFrom("change", "poll", "hang up", "other", "turn"));
    const property = fc.asyncProperty(
      actions,
      fc.integer({ min: 1, max: 3 }),
      async (steps, max) => {
        const wakeups = createWakeups(max);
        const clients: Poll[] = [];
        const polls: Promise<void>[] = [];
        let revision = 0;
        for (const step of steps) {
          if (step === "poll") {
            const client: Poll = { known: -1, isOver: false, gone: new AbortController() };
            clients.push(client);
            polls.push(poll(wakeups, () => revision, client));
          }
          if (step === "change") {
            revision += 1;
            wakeups.wake("node");
          }
          if (step === "hang up") clients.find(({ isOver }) => !isOver)?.gone.abort();
          if (step === "other") wakeups.wake("another node");
          if (step === "turn") await nextTurn();
        }
        await nextTurn();
        const waiting = clients.filter(({ isOver }) => !isOver);
        assert.ok(waiting.length <= max);
        assert.ok(waiting.every(({ known }) => known === revision));
        wakeups.close();
        await Promise.all(polls);
      },
    );
    await fc.assert(property, { numRuns: 300 });
  });
});
