/** The states of a roll-out, from the wish to its end, with the real controller and an agent that a test commands. */
import { join } from "node:path";

import { aController } from "../../support/controller.ts";
import { assert, suite } from "../../support/suite.ts";
import { aTemporaryDirectory } from "../../support/temporary.ts";
import { aScene, fails, hangs } from "./support.ts";

const PROGRESS_DEADLINE_MS = 600_000;

suite("a roll-out", (test) => {
  test("is complete when every process is of its generation, and says why it began", async () => {
    await using scene = await aScene({ processes: 3 });
    const first = await scene.rollout();
    assert.equal(
      [first.state, first.generation, first.cause, first.message],
      ["complete", 1, "first roll-out", null],
    );
    await scene.put({ env: { MODE: "b" }, user: "1000" });
    assert.is((await scene.rollout()).state, "progressing");
    await scene.work(20);
    const [newest, oldest] = await scene.history();
    assert.equal(newest?.changed, ["env", "user"]);
    assert.is(newest?.cause, "env, user changed");
    assert.is(newest?.state, "complete");
    assert.is(newest?.from, 1);
    assert.is(oldest?.state, "complete");
    assert.equal(await scene.generations(), [2, 2, 2]);
    assert.ok((await scene.events()).includes("subscription.rollout-complete"));
  });

  test("keeps to maxSurge 0 and maxUnavailable: never more processes than wished", async () => {
    const rollout = { maxSurge: 0, maxUnavailable: "50%" };
    await using scene = await aScene({ processes: 4, rollout });
    await scene.put({ env: { MODE: "b" } });
    for (let round = 0; round < 20; round += 1) {
      await scene.work(1);
      const { items } = (await scene.controller.call("GET", "/v1/subscriptions/hi/processes")).body;
      const ready = items.filter((one: { ready: boolean }) => one.ready).length;
      assert.ok(ready >= 2, `${ready} ready`);
      const live = [...scene.agent.told.values()].filter(({ desired }) => desired === "running");
      assert.ok(live.length <= 4, `${live.length} live`);
    }
    assert.is((await scene.rollout()).state, "complete");
  });

  test("that changes limits alone replaces nothing and is complete at once", async () => {
    await using scene = await aScene({ processes: 2 });
    const ids = await scene.ids();
    await scene.put({ resources: { memory: "1Gi" } });
    scene.controller.settle();
    assert.is((await scene.rollout()).state, "complete");
    assert.equal(await scene.ids(), ids);
    assert.equal((await scene.history())[0]?.changed, ["resources"]);
  });

  test("waits until a new process was ready for minReady", async () => {
    await using scene = await aScene({ processes: 1, rollout: { minReady: "30s" } });
    await scene.pass(30);
    assert.is((await scene.rollout()).state, "complete");
    await scene.put({ env: { MODE: "b" } });
    await scene.pass(27);
    assert.equal(await scene.generations(), [1, 2]);
    await scene.pass(6);
    assert.equal(await scene.generations(), [2]);
    assert.is((await scene.rollout()).state, "complete");
  });

  test("is superseded by a newer one", async () => {
    await using scene = await aScene({ processes: 2 });
    scene.conduct.set(2, hangs);
    await scene.put({ env: { MODE: "b" } });
    await scene.work();
    await scene.put({ env: { MODE: "c" } });
    await scene.work(20);
    const states = (await scene.history()).map(({ state }) => state);
    assert.equal(states, ["complete", "superseded", "complete"]);
    assert.equal(await scene.generations(), [3, 3]);
  });

  test("is refused when nothing could ever be replaced", async () => {
    await using scene = await aScene({ processes: 1 });
    for (const rollout of [
      { maxSurge: 0, maxUnavailable: "0%" },
      { minReady: "10m", progressDeadline: "10m" },
      { canary: "101%" },
      { canary: -1 },
    ])
      assert.is((await scene.put({ rollout })).status, 422, JSON.stringify(rollout));
  });
});

suite("a roll-out that fails", (test) => {
  test("goes back to the last good generation, whose processes were never touched", async () => {
    await using scene = await aScene({ processes: 3 });
    const ids = await scene.ids();
    scene.conduct.set(2, fails);
    await scene.put({ env: { MODE: "bad" } });
    await scene.work(20);
    const [back, bad, good] = await scene.history();
    assert.equal([back?.state, bad?.state, good?.state], ["complete", "rolledBack", "complete"]);
    assert.match(bad?.reason ?? "", /IMAGE_NOT_FOUND/);
    assert.is(back?.rollbackTo, 1);
    assert.equal(await scene.ids(), ids);
    assert.equal(await scene.generations(), [3, 3, 3]);
    const events = await scene.events();
    assert.ok(events.includes("subscription.rollout-failed"));
    assert.ok(events.includes("subscription.rolled-back"));
    assert.match(
      (await scene.rollout()).message ?? "",
      /generation 2 was rolled back: .*no such image/,
    );
  });

  test("is not begun again by the same wish, but by another one", async () => {
    await using scene = await aScene({ processes: 1 });
    scene.conduct.set(2, fails);
    await scene.put({ env: { MODE: "bad" } });
    await scene.work(20);
    assert.is((await scene.put({ env: { MODE: "bad" } })).status, 200);
    assert.is((await scene.put({ env: { MODE: "bad" }, processes: 2 })).status, 200);
    await scene.work(10);
    assert.equal(await scene.generations(), [3, 3]);
    const put = await scene.put({ env: { MODE: "better" }, processes: 2 });
    assert.is(put.body.generation, 4);
    await scene.work(20);
    assert.equal(await scene.generations(), [4, 4]);
    assert.is((await scene.rollout()).message, null);
  });

  test("needs no new generation when the wish becomes what runs already", async () => {
    await using scene = await aScene({ processes: 1 });
    scene.conduct.set(2, fails);
    await scene.put({ env: { MODE: "bad" } });
    await scene.work(20);
    const ids = await scene.ids();
    assert.is((await scene.put({})).body.generation, 3);
    await scene.work();
    assert.equal(await scene.ids(), ids);
    assert.is((await scene.rollout()).message, null);
  });

  test("fails after its deadline without progress, with what keeps it", async () => {
    await using scene = await aScene({ processes: 2 });
    scene.conduct.set(2, (assignment) => ({
      ...hangs(assignment),
      ...(assignment.desired === "running"
        ? { problem: { code: "PROBE_FAILED", message: "its probe answers 503" } }
        : {}),
    }));
    await scene.put({ env: { MODE: "bad" } });
    await scene.work();
    scene.controller.advance(PROGRESS_DEADLINE_MS - 1000);
    await scene.work();
    assert.is((await scene.rollout()).state, "progressing");
    scene.controller.advance(1000);
    await scene.work(20);
    const [, bad] = await scene.history();
    assert.is(bad?.state, "rolledBack");
    assert.match(bad?.reason ?? "", /no progress for 600 s: .*503/);
  });

  test("fails when the crash policy begins to wait", async () => {
    await using scene = await aScene({ processes: 1 });
    const crashes = (restarts: number) => {
      scene.conduct.set(2, ({ desired }) =>
        desired === "stopped"
          ? {}
          : {
              state: "starting",
              ready: false,
              restarts,
              problem: { code: "CRASHED", message: "ended with 1" },
            },
      );
    };
    crashes(2);
    await scene.put({ env: { MODE: "bad" } });
    await scene.work();
    assert.is((await scene.rollout()).state, "progressing");
    crashes(3);
    await scene.work(20);
    assert.equal(
      (await scene.history()).map(({ state }) => state),
      ["complete", "rolledBack", "complete"],
    );
  });

  test("has nothing to go back to when it is the first, says so, and is tried on", async () => {
    await using controller = await aController();
    const scene = await aScene({ processes: 0 }, { controller });
    scene.conduct.set(2, fails);
    // The generation before ran nothing, but it came to its end.
    await controller.call("DELETE", "/v1/subscriptions/hi");
    await scene.work();
    scene.conduct.set(1, fails);
    assert.is((await scene.put({ processes: 1 })).status, 201);
    await scene.work();
    const status = await scene.rollout();
    assert.is(status.state, "failed");
    assert.match(status.message ?? "", /IMAGE_NOT_FOUND.*no good generation to go back to/);
    scene.conduct.delete(1);
    controller.advance(20_000);
    await scene.work(20);
    assert.is((await scene.rollout()).state, "complete");
  });

  test("stays where autoRollback is off, while the old processes serve on", async () => {
    await using scene = await aScene({ processes: 2, rollout: { autoRollback: false } });
    scene.conduct.set(2, fails);
    await scene.put({ env: { MODE: "bad" } });
    await scene.work();
    assert.is((await scene.rollout()).state, "failed");
    assert.ok((await scene.generations()).filter((one) => one === 1).length === 2);
  });

  test("ends there when it was a roll-back itself", async () => {
    await using scene = await aScene({ processes: 1 });
    await scene.put({ env: { MODE: "b" } });
    await scene.work(20);
    scene.conduct.set(3, fails);
    const answer = await scene.post("/rollback", { toGeneration: 1 });
    assert.is(answer.body.generation, 3);
    await scene.work(20);
    const status = await scene.rollout();
    assert.equal([status.state, status.generation], ["failed", 3]);
    assert.match(status.message ?? "", /a roll-back itself/);
  });

  test("does not go back to the same: a restart that fails stays", async () => {
    await using scene = await aScene({ processes: 1 });
    scene.conduct.set(2, fails);
    await scene.post("/restart");
    await scene.work(20);
    const status = await scene.rollout();
    assert.equal([status.state, status.generation], ["failed", 2]);
    assert.match(status.message ?? "", /runs the same/);
  });

  test("is not blamed for one process that fails beside others that are well", async () => {
    await using scene = await aScene({ processes: 4, rollout: { maxSurge: 2 } });
    let unlucky: string | undefined;
    scene.conduct.set(2, (assignment) => {
      unlucky ??= assignment.processId;
      return assignment.processId === unlucky ? fails(assignment) : {};
    });
    await scene.put({ env: { MODE: "b" } });
    await scene.work(20);
    assert.is((await scene.rollout()).state, "progressing");
    scene.controller.advance(20_000);
    await scene.work(20);
    assert.is((await scene.rollout()).state, "complete");
  });

  test("goes on from what is in the database when the controller is killed and starts again", async () => {
    await using folder = aTemporaryDirectory();
    const file = join(folder.path, "strata.db");
    const first = await aController({ file });
    const scene = await aScene({ processes: 2 }, { controller: first });
    scene.conduct.set(2, hangs);
    await scene.put({ env: { MODE: "bad" } });
    await scene.work();
    const startMs = first.services.clock.nowMs() + PROGRESS_DEADLINE_MS;
    await first[Symbol.asyncDispose]();
    await using second = await aController({ file, startMs });
    second.settle();
    const shown = await second.call("GET", "/v1/subscriptions/hi/rollouts");
    assert.is(shown.body.items[1]?.state, "rolledBack", JSON.stringify(shown.body));
    assert.is(shown.body.items[0]?.rollbackTo, 1);
  });
});
