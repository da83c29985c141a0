import { setTimeout as delay } from "node:timers/promises";

import { aFakeAgent, prepare } from "../support/fake-agent.ts";
import { assert, suite } from "../support/suite.ts";
import { aControllerServer } from "./support/controller-server.ts";
import { runCli } from "./support/run-cli.ts";

suite("strata job", (test) => {
  test("runs, lists and cancels, and ends as the run that it waits for", async () => {
    await using server = await aControllerServer();
    const { controller } = server;
    const strata = (...args: readonly string[]): ReturnType<typeof runCli> =>
      runCli(args, { env: server.env, now: Date.parse("2026-01-01T01:00:00Z") });
    await prepare(controller);
    const body = { cartridge: "hello", cron: "0 3 * * *" };
    await controller.call("PUT", "/v1/jobs/nightly", { body });
    const agent = await aFakeAgent(controller);
    assert.match(
      (await strata("job", "ls")).stdout,
      /^NAME +CARTRIDGE +CRON +RUNNING +LAST +NEXT +AGE\nnightly +hello +0 3 \* \* \* +0 +- +2026-01-01T03:00:00.000Z +1h\n$/,
    );

    const waiting = strata("job", "run", "--wait", "nightly", "one", "--two");
    const over = waiting.then(() => true);
    const node = (async (): Promise<void> => {
      for (let isOver = false; !isOver; isOver = await Promise.race([over, delay(20, false)])) {
        controller.settle();
        await agent.work(({ desired }) =>
          desired === "stopped"
            ? {}
            : {
                state: "failed",
                ready: false,
                lastExit: { code: 3, reason: "exited", at: "2026-01-01T00:00:00Z" },
              },
        );
      }
    })();
    const failed = await waiting;
    await node;
    assert.is(failed.status, 1);
    assert.match(failed.stdout, /^nightly-\w+ failed: ended with 3 \(exited\)\n$/);
    const [told] = [...agent.told.values()];
    assert.equal(told?.spec.args, ["one", "--two"]);

    const begun = await strata("job", "run", "nightly");
    const [id = ""] = begun.stdout.split(" ");
    controller.settle();
    const { stdout } = await strata("job", "runs", "nightly");
    assert.match(stdout, new RegExp(`${id} +running`));
    assert.match(stdout, /failed +3 +0 +nightly-\w+ +ended with 3/);
    assert.is((await strata("job", "cancel", "nightly", id)).stdout, `${id} cancelled\n`);
    assert.is((await strata("job", "run", "none")).status, 1);
  });
});
