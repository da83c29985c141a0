/** Canaries, pauses and roll-backs by hand, over the API. */
import { assert, suite } from "../../support/suite.ts";
import { aScene, fails, hangs, type Scene } from "./support.ts";

const newer = { env: { MODE: "b" } };
const count = (all: readonly number[], generation: number): number =>
  all.filter((one) => one === generation).length;

async function code(answer: Promise<{ status: number; body: { code?: string } }>): Promise<string> {
  const { status, body } = await answer;
  return `${status} ${body.code ?? ""}`.trim();
}

async function states(scene: Scene): Promise<readonly string[]> {
  return (await scene.history()).map(({ state }) => state);
}

suite("canaries", (test) => {
  test("come first, and the rest follows when they are promoted", async () => {
    await using scene = await aScene({ processes: 4, rollout: { canary: 1 } });
    await scene.put(newer);
    assert.is(await code(scene.post("/rollout/promote")), "409 ROLLOUT_STATE");
    await scene.work(20);
    assert.equal(await scene.generations(), [1, 1, 1, 2]);
    const status = await scene.rollout();
    assert.equal([status.state, status.updated, status.ready], ["canary", 1, 1]);
    const shown = await scene.controller.call("GET", "/v1/subscriptions/hi");
    assert.match(shown.body.status.message, /1 canaries of generation 2 are ready/);
    assert.is(await code(scene.post("/rollout/promote")), "200");
    await scene.work(20);
    assert.equal(await scene.generations(), [2, 2, 2, 2]);
    assert.equal(await states(scene), ["complete", "complete"]);
  });

  test("are followed by the rest when they were ready for canaryFor", async () => {
    await using scene = await aScene({
      processes: 4,
      rollout: { canary: "25%", canaryFor: "30s" },
    });
    await scene.put(newer);
    await scene.pass(24);
    assert.equal(await scene.generations(), [1, 1, 1, 2]);
    await scene.pass(12);
    await scene.work(20);
    assert.equal(await scene.generations(), [2, 2, 2, 2]);
    assert.is((await scene.rollout()).state, "complete");
  });

  test("that fail are taken back alone: the others were never touched", async () => {
    await using scene = await aScene({ processes: 4, rollout: { canary: 2 } });
    const ids = await scene.ids();
    scene.conduct.set(2, fails);
    await scene.put(newer);
    await scene.work(20);
    assert.equal(await states(scene), ["complete", "rolledBack", "complete"]);
    assert.equal(await scene.ids(), ids);
  });

  test("that fail after they were ready are taken back as well", async () => {
    await using scene = await aScene({ processes: 4, rollout: { canary: 1 } });
    await scene.put(newer);
    await scene.work(20);
    assert.is((await scene.rollout()).state, "canary");
    scene.conduct.set(2, fails);
    await scene.work(30);
    assert.equal(await states(scene), ["complete", "rolledBack", "complete"]);
    assert.equal(await scene.generations(), [3, 3, 3, 3]);
  });

  test("are none for a first generation, which has nothing to stand beside", async () => {
    await using scene = await aScene({ processes: 3, rollout: { canary: 1 } });
    assert.equal(await scene.generations(), [1, 1, 1]);
    assert.is((await scene.rollout()).state, "complete");
  });
});

suite("a pause", (test) => {
  test("holds the roll-out where it is, and a resume lets it go on", async () => {
    await using scene = await aScene({ processes: 4, rollout: { minReady: "6s" } });
    await scene.pass(9);
    await scene.put(newer);
    await scene.pass(9);
    assert.is(await code(scene.post("/rollout/pause")), "200");
    assert.is((await scene.rollout()).state, "paused");
    await scene.pass(30);
    const held = count(await scene.generations(), 2);
    assert.ok(held > 0 && held < 4, `${held} of generation 2`);
    await scene.pass(30);
    assert.is(count(await scene.generations(), 2), held);
    assert.is((await scene.generations()).length, 4);
    assert.is(await code(scene.post("/rollout/pause")), "409 ROLLOUT_STATE");
    assert.is(await code(scene.post("/rollout/resume")), "200");
    await scene.pass(60);
    assert.equal(await scene.generations(), [2, 2, 2, 2]);
    assert.is(await code(scene.post("/rollout/resume")), "409 ROLLOUT_STATE");
  });

  test("lets a PUT make a generation that does not roll yet", async () => {
    await using scene = await aScene({ processes: 2 });
    scene.conduct.set(2, hangs);
    await scene.put(newer);
    await scene.work();
    await scene.post("/rollout/pause");
    await scene.put({ env: { MODE: "c" } });
    await scene.work(20);
    const { state, generation } = await scene.rollout();
    assert.equal([state, generation], ["paused", 3]);
    assert.is(count(await scene.generations(), 3), 0);
    await scene.post("/rollout/resume");
    await scene.work(20);
    assert.equal(await scene.generations(), [3, 3]);
  });

  test("still has a failed process made again, of the generation that it had", async () => {
    await using scene = await aScene({ processes: 2, rollout: { canary: 1 } });
    await scene.put(newer);
    await scene.work(20);
    await scene.post("/rollout/pause");
    const [victim] = await scene.ids();
    const was = (await scene.controller.call("GET", `/v1/processes/${victim}`)).body.generation;
    const conduct = (assignment: Parameters<typeof fails>[0]): ReturnType<typeof fails> =>
      assignment.processId === victim ? fails(assignment) : {};
    scene.conduct.set(1, conduct);
    scene.conduct.set(2, conduct);
    await scene.work();
    await scene.pass(15);
    assert.equal(await scene.generations(), [1, 2], `the victim was of generation ${was}`);
    assert.not.ok((await scene.ids()).includes(victim ?? ""));
  });

  test("does not hold scaling back: what comes is of the generation before", async () => {
    await using scene = await aScene({ processes: 2, rollout: { canary: 1 } });
    await scene.put(newer);
    await scene.work(20);
    await scene.post("/rollout/pause");
    await scene.post("/scale", { processes: 5 });
    await scene.work(20);
    assert.equal(await scene.generations(), [1, 1, 1, 1, 2]);
  });
});

suite("a subscription that comes back", (test) => {
  test("has nothing to stand beside: no canaries, and the pause is over", async () => {
    await using scene = await aScene({ processes: 2, rollout: { canary: 1 } });
    await scene.put(newer);
    await scene.work(20);
    await scene.post("/rollout/pause");
    const { call } = scene.controller;
    assert.is((await call("DELETE", "/v1/subscriptions/hi")).status, 202);
    assert.is((await scene.put(newer)).status, 201);
    await scene.work(20);
    assert.equal(await scene.generations(), [3, 3]);
    const { state, cause } = await scene.rollout();
    assert.equal([state, cause], ["complete", "it came back"]);
  });
});

suite("a dry run", (test) => {
  test("of another image begins no roll-out", async () => {
    await using scene = await aScene({ processes: 1 });
    const body = "kind: Subscription\nname: hi\ncartridge: hello\nenv: { MODE: c }\n";
    const answer = await scene.controller.call("POST", "/v1/apply?dryRun=true", { body });
    assert.is(answer.status, 200, JSON.stringify(answer.body));
    assert.is(answer.body.results[0].action, "updated");
    assert.is((await scene.history()).length, 1);
    assert.is((await scene.rollout()).generation, 1);
  });
});

suite("a roll-back by hand", (test) => {
  test("runs what the last good generation ran, once, and then there is no other", async () => {
    await using scene = await aScene({ processes: 2 });
    assert.is(await code(scene.post("/rollback", {})), "409 ROLLBACK_IMPOSSIBLE");
    await scene.put(newer);
    await scene.work(20);
    const answer = await scene.post("/rollback", {});
    assert.equal([answer.status, answer.body.generation], [200, 3]);
    await scene.work(20);
    assert.equal(await scene.generations(), [3, 3]);
    const [back, bad] = await scene.history();
    assert.equal([back?.state, back?.rollbackTo, bad?.state], ["complete", 1, "rolledBack"]);
    assert.is(await code(scene.post("/rollback", {})), "409 ROLLBACK_IMPOSSIBLE");
    assert.is((await scene.post("/rollback", { toGeneration: 2 })).body.generation, 4);
    await scene.work(20);
    assert.is((await scene.rollout()).message, null);
    assert.is((await scene.put(newer)).body.generation, 4);
  });

  test("ends a roll-out that is under way, and leaves untouched what it did not reach", async () => {
    await using scene = await aScene({ processes: 4 });
    const ids = await scene.ids();
    scene.conduct.set(2, hangs);
    await scene.put(newer);
    await scene.work();
    await scene.post("/rollback", {});
    await scene.work(20);
    assert.equal(await scene.ids(), ids);
    assert.equal(await scene.generations(), [3, 3, 3, 3]);
  });

  test("is refused for what is not kept, is stale, or no generation", async () => {
    await using scene = await aScene({ processes: 0 });
    for (let turn = 0; turn < 14; turn += 1) {
      await scene.put({ env: { TURN: String(turn) } });
      scene.controller.settle();
    }
    assert.is(await code(scene.post("/rollback", { toGeneration: 1 })), "409 ROLLBACK_IMPOSSIBLE");
    assert.is(await code(scene.post("/rollback", { toGeneration: 15 })), "409 ROLLBACK_IMPOSSIBLE");
    assert.is(await code(scene.post("/rollback", { toGeneration: 0 })), "422 INVALID");
    assert.is(await code(scene.post("/rollback", { generation: 3 })), "422 INVALID");
    const headers = { "if-match": '"1"' };
    const path = "/v1/subscriptions/hi/rollback";
    const stale = scene.controller.call("POST", path, { body: {}, headers });
    assert.is(await code(stale), "412 REVISION_STALE");
    assert.is((await scene.post("/rollback", { toGeneration: 14 })).status, 200);
  });

  test("keeps the last good generation however many failed after it", async () => {
    await using scene = await aScene({ processes: 1, rollout: { autoRollback: false } });
    for (let generation = 2; generation < 16; generation += 1) {
      scene.conduct.set(generation, fails);
      await scene.put({ rollout: { autoRollback: false }, env: { TURN: String(generation) } });
      await scene.work(3);
    }
    const answer = await scene.post("/rollback", {});
    assert.is(answer.status, 200, JSON.stringify(answer.body));
    await scene.work(20);
    assert.is((await scene.history())[0]?.rollbackTo, 1);
    assert.is((await scene.rollout()).state, "complete");
  });
});

suite("the history", (test) => {
  test("is read page by page, newest first, by viewers of the tenant alone", async () => {
    await using scene = await aScene({ processes: 0 });
    for (const turn of ["a", "b", "c"]) {
      await scene.put({ env: { TURN: turn } });
      scene.controller.settle();
    }
    const { call } = scene.controller;
    const page = (query: string): ReturnType<typeof call> =>
      call("GET", `/v1/subscriptions/hi/rollouts${query}`);
    const first = (await page("?limit=3")).body;
    assert.equal(
      first.items.map(({ generation }: { generation: number }) => generation),
      [4, 3, 2],
    );
    assert.is(first.next, "2");
    const rest = (await page(`?limit=3&after=${first.next}`)).body;
    assert.equal([rest.items.length, rest.items[0].generation, rest.next], [1, 1, null]);
    assert.is((await page("?after=x")).status, 422);
    assert.is((await call("GET", "/v1/subscriptions/none/rollouts")).status, 404);
    assert.is((await call("POST", "/v1/subscriptions/none/rollout/pause")).status, 404);
    await call("PUT", "/v1/tenants/other", { body: {} });
    const other = await call("POST", "/v1/tokens", {
      body: { name: "other", scope: "deployer", tenant: "other" },
    });
    const token = other.body.token ?? other.body.secret;
    const foreign = await call("POST", "/v1/subscriptions/hi/rollback", { token, body: {} });
    assert.is(foreign.status, 404, JSON.stringify(other.body));
  });
});
