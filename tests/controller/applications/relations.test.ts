/** Subscriptions that wait for others, and take their counts from others. */
import { aController, type Answer, type TestController } from "../../support/controller.ts";
import { aFakeAgent, prepare } from "../../support/fake-agent.ts";
import { assert, suite } from "../../support/suite.ts";

const put = (controller: TestController, alias: string, body: object): Promise<Answer> =>
  controller.call("PUT", `/v1/subscriptions/${alias}`, { body: { cartridge: "hello", ...body } });
const get = async (controller: TestController, alias: string): Promise<Answer["body"]> =>
  (await controller.call("GET", `/v1/subscriptions/${alias}`)).body;
const codeOf = ({ status, body }: Answer): readonly [number, string] => [status, body.code];

suite("dependsOn", (test) => {
  test("holds the first processes back until what they name is ready, and never again", async () => {
    await using controller = await aController();
    await prepare(controller);
    await put(controller, "db", { processes: 2 });
    assert.is((await put(controller, "web", { dependsOn: ["db"], processes: 2 })).status, 201);
    const agent = await aFakeAgent(controller);
    controller.settle();
    // One of two is ready: that is not enough.
    let unready = 1;
    await agent.work(() => ({ ready: unready-- <= 0 }));
    controller.settle();
    await agent.poll();
    const runs = (): readonly string[] =>
      [...agent.told.values()].map(({ spec }) => spec.subscription).toSorted();
    assert.equal(runs(), ["db", "db"]);
    const waits = await get(controller, "web");
    assert.match(waits.status.message, /1 of 2 processes of db are ready \(DEPENDENCY_NOT_READY\)/);

    await agent.work();
    controller.settle();
    await agent.poll();
    assert.equal(runs(), ["db", "db", "web", "web"]);
    await agent.work();
    controller.settle();
    assert.is((await get(controller, "web")).status.message, null);

    // A dependency that falls ill later stops nothing and holds nothing back.
    await agent.work(({ spec }) => ({ ready: spec.subscription !== "db" }));
    await controller.call("POST", "/v1/subscriptions/web/scale", { body: { processes: 0 } });
    controller.settle();
    await agent.work(({ spec }) => ({ ready: spec.subscription !== "db" }));
    controller.settle();
    await controller.call("POST", "/v1/subscriptions/web/scale", { body: { processes: 1 } });
    controller.settle();
    await agent.poll();
    assert.ok(runs().includes("web"));
  });

  test("names what exists, goes in no circle, and keeps what it names from deletion", async () => {
    await using controller = await aController();
    await prepare(controller);
    assert.equal(codeOf(await put(controller, "web", { dependsOn: ["db"] })), [
      422,
      "REFERENCE_UNKNOWN",
    ]);
    assert.is((await controller.call("GET", "/v1/subscriptions/web")).status, 404);
    assert.equal(codeOf(await put(controller, "web", { dependsOn: ["web"] })), [
      422,
      "RELATION_CYCLE",
    ]);
    await put(controller, "db", {});
    await put(controller, "web", { dependsOn: ["db"] });
    const circle = await put(controller, "db", { dependsOn: ["web"] });
    assert.equal(codeOf(circle), [422, "RELATION_CYCLE"]);
    assert.match(circle.body.detail, "db > web > db");
    const refused = await controller.call("DELETE", "/v1/subscriptions/db");
    assert.equal(codeOf(refused), [409, "IN_USE"]);
    assert.is((await controller.call("DELETE", "/v1/subscriptions/web")).status, 202);
    assert.is((await controller.call("DELETE", "/v1/subscriptions/db")).status, 202);
  });

  test("may name what the same stream makes, in any order of documents", async () => {
    await using controller = await aController();
    await prepare(controller);
    const document = (name: string, rest: string): string =>
      `kind: Subscription\nname: ${name}\ncartridge: hello\n${rest}`;
    const apply = (...documents: readonly string[]): Promise<Answer> =>
      controller.call("POST", "/v1/apply", { body: documents.join("\n---\n") });
    const web = document("web", "dependsOn: [db]\n");
    assert.is((await apply(web, document("db", ""))).status, 200);
    const circle = await apply(web, document("db", "dependsOn: [web]\n"));
    assert.equal(codeOf(circle), [422, "RELATION_CYCLE"]);
    assert.is((await get(controller, "db")).dependsOn, null);
    assert.is(
      (await apply(document("other", "dependsOn: [nobody]\n"))).body.code,
      "REFERENCE_UNKNOWN",
    );
  });

  test("reaches no other tenant", async () => {
    await using controller = await aController();
    await prepare(controller, 1);
    const path = "/v1/subscriptions/web?tenant=acme";
    const body = { cartridge: "hello", dependsOn: ["hi"] };
    assert.is((await controller.call("PUT", path, { body })).body.code, "REFERENCE_UNKNOWN");
  });
});

suite("ratio", (test) => {
  test("follows the other one's count at once, whoever changed it, within its own bounds", async () => {
    await using controller = await aController();
    await prepare(controller);
    await controller.call("PUT", "/v1/scaling-policies/few", { body: { min: 1, max: 3 } });
    await put(controller, "web", { processes: 2 });
    const worker = await put(controller, "worker", { ratio: { of: "web", processes: 1, per: 2 } });
    assert.is(worker.body.processes, 1);
    await put(controller, "mail", {
      ratio: { of: "worker", processes: 2, per: 1 },
      scalingPolicy: "few",
    });
    const counts = async (): Promise<readonly number[]> => {
      controller.settle();
      const found = await Promise.all(["worker", "mail"].map((alias) => get(controller, alias)));
      return found.map(({ status }) => status.desired);
    };
    assert.equal(await counts(), [1, 2]);
    await controller.call("POST", "/v1/subscriptions/web/scale", { body: { processes: 7 } });
    assert.equal(await counts(), [4, 3]);
    await controller.call("POST", "/v1/subscriptions/web/scale", { body: { processes: 0 } });
    assert.equal(await counts(), [0, 1]);
    const { revision } = await get(controller, "worker");
    assert.is(revision, worker.body.revision, "nobody's change is refused for it");
  });

  test("refuses another count, a policy that decides, and a circle", async () => {
    await using controller = await aController();
    await prepare(controller);
    await controller.call("PUT", "/v1/scaling-policies/busy", {
      body: { min: 1, max: 9, metrics: [{ kind: "cpu", target: 50 }] },
    });
    const ratio = { of: "web", processes: 1, per: 2 };
    await put(controller, "web", {});
    for (const body of [
      { ratio, processes: 3 },
      { ratio, scalingPolicy: "busy" },
    ])
      assert.equal(codeOf(await put(controller, "worker", body)), [422, "RATIO_DECIDES"]);
    assert.is((await put(controller, "worker", { ratio })).status, 201);
    const scaled = await controller.call("POST", "/v1/subscriptions/worker/scale", {
      body: { processes: 3 },
    });
    assert.equal(codeOf(scaled), [422, "RATIO_DECIDES"]);
    assert.match(scaled.body.hint, "scale web");
    assert.is(
      (await put(controller, "web", { ratio: { ...ratio, of: "worker" } })).body.code,
      "RELATION_CYCLE",
    );
    assert.is((await controller.call("DELETE", "/v1/subscriptions/web")).body.code, "IN_USE");
  });
});
