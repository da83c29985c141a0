import { setTimeout as delay } from "node:timers/promises";

import { backoffMs } from "@strata/agent/backoff";
import { createControllerClient, createDispatcher } from "@strata/agent/controller-client";
import { createLogger } from "@strata/agent/logger";
import { Session, type SessionEnd } from "@strata/agent/session";
import fc from "fast-check";

import { assert, suite } from "../../support/suite.ts";
import { aTemporaryDirectory } from "../../support/temporary.ts";
import { aController, type TestController } from "../support/a-controller.ts";
import { anAssignment } from "../support/an-assignment.ts";

type Talk = AsyncDisposable & {
  /** What the node was told, each time. */
  readonly told: readonly number[];
  readonly end: () => SessionEnd | undefined;
  readonly ended: Promise<SessionEnd>;
};

/** A session without containers: a node that was told to hold one process. */
function talk(controller: TestController): Talk {
  const folder = aTemporaryDirectory();
  const dispatcher = createDispatcher({ url: controller.url, caPem: undefined });
  const told: number[] = [];
  let end: SessionEnd | undefined;
  const session = new Session({
    client: createControllerClient(
      { url: controller.url, nodeId: "node-1", credential: "node-credential-of-the-test" },
      dispatcher,
    ),
    logger: createLogger("silent"),
    random: () => 0,
    agentVersion: "0.0.0",
    bootId: "boot-1",
    beatIntervalMs: 5000,
    desired: { version: 1, epoch: "epoch-1", revision: 0, assignments: [] },
    desiredPath: `${folder.path}/desired.json`,
    onDesired: ({ assignments }) => told.push(assignments.length),
    onStream: () => undefined,
    describeProcesses: () => [],
  });
  const ended = session.run().then((how) => (end = how));
  return {
    told,
    ended,
    end: () => end,
    [Symbol.asyncDispose]: async () => {
      session.close();
      await ended;
      await dispatcher.destroy();
      await folder[Symbol.asyncDispose]();
    },
  };
}

async function untilRefused(controller: TestController, count: number): Promise<void> {
  while (controller.refused() < count) await delay(10);
}

suite("a node that the controller refuses", (test) => {
  test("goes on with what it was told, and is back when the refusal ends", async () => {
    await using controller = await aController();
    await using node = talk(controller);
    controller.assign(anAssignment("true"));
    await controller.untilReport(({ revision }) => revision === 1);
    controller.refuse({ status: 401, code: "UNAUTHENTICATED" });
    await untilRefused(controller, 4);
    assert.equal(node.told, [1], "nothing was taken away");
    assert.is(node.end(), undefined);
    controller.refuse(undefined);
    controller.assign();
    await controller.untilReport(({ revision }) => revision === 2);
    assert.equal(node.told, [1, 0]);
  });

  test("asks ever less often: at last every five minutes, or every 15 s when nobody answers", () => {
    const waits = (isRefused: boolean): number[] =>
      Array.from({ length: 14 }, (_, index) => backoffMs(index + 1, { isRefused, random: 1 }));
    assert.equal(waits(true).slice(0, 4), [250, 500, 1000, 2000]);
    assert.is(waits(true).at(-1), 300_000);
    assert.is(waits(false).at(-1), 15_000);
    fc.assert(
      fc.property(fc.nat(), fc.boolean(), fc.double({ min: 0, max: 1, noNaN: true }), (...any) => {
        const [failures, isRefused, random] = any;
        const ms = backoffMs(failures + 1, { isRefused, random });
        assert.ok(ms >= 125 && ms <= 300_000, `${ms}`);
      }),
    );
  });

  test("ends when its node was deleted, by the word of the state that it knows", async () => {
    await using controller = await aController();
    await using node = talk(controller);
    controller.assign(anAssignment("true"));
    await controller.untilReport(({ revision }) => revision === 1);
    controller.refuse({ status: 410, code: "NODE_DECOMMISSIONED", epoch: "epoch-1" });
    assert.is(await node.ended, "decommissioned");
  });

  test("does not end by the word of another state, such as one restored from a backup", async () => {
    await using controller = await aController();
    await using node = talk(controller);
    controller.assign(anAssignment("true"));
    await controller.untilReport(({ revision }) => revision === 1);
    controller.refuse({ status: 410, code: "NODE_DECOMMISSIONED", epoch: "epoch-2" });
    await untilRefused(controller, 4);
    assert.is(node.end(), undefined);
    assert.equal(node.told, [1]);
  });
});
