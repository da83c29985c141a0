import { aController, type TestController } from "../../support/controller.ts";
import { aFakeAgent, type FakeAgent, prepare } from "../../support/fake-agent.ts";
import { assert, suite } from "../../support/suite.ts";

const exec = {
  kind: "exec",
  command: ["/bin/check"],
  interval: 30,
  timeout: 5,
  failureThreshold: 3,
};
const web = { kind: "http", port: 80, path: "/", interval: 2, timeout: 1, failureThreshold: 3 };

async function put(controller: TestController, fields: object, path = "subscriptions/hi") {
  const own = path.startsWith("sub")
    ? { cartridge: "hello" }
    : { image: "hello:1", partition: "web" };
  return controller.call("PUT", `/v1/${path}`, { body: { ...own, ...fields } });
}

/** What the one process of the subscription is told. */
async function specOf(controller: TestController, agent: FakeAgent) {
  controller.settle();
  await agent.poll();
  const found = [...agent.told.values()].find(({ desired }) => desired === "running");
  if (found === undefined) throw new Error("nothing is assigned");
  const { health, probes } = found.spec;
  return { health, probes };
}

suite("probes in the API", (test) => {
  test("are shown as they can be put again, and change nothing then", async () => {
    await using controller = await aController();
    await prepare(controller, 1);
    const probes = {
      health: { ...web, path: "/ready", headers: { Host: "app.test" }, successThreshold: 2 },
      startup: { kind: "tcp", port: 80, interval: 0.5, timeout: 1, failureThreshold: 60 },
      liveness: exec,
    };
    const first = await put(controller, probes);
    const { health, startup, liveness } = first.body;
    assert.equal({ health, startup, liveness }, probes);
    const again = await put(controller, { health, startup, liveness });
    assert.is(again.body.generation, first.body.generation);
    assert.is(again.body.revision, first.body.revision);
    const without = await put(controller, {});
    assert.equal(
      [without.body.health, without.body.startup, without.body.liveness],
      [null, null, null],
    );
  });

  test("have defaults of their kind", async () => {
    await using controller = await aController();
    await prepare(controller);
    const { body } = await put(controller, {
      health: { port: 80 },
      startup: { port: 80 },
      liveness: { kind: "exec", command: ["x"] },
    });
    assert.equal(body.health, web);
    assert.is(body.startup.failureThreshold, 30);
    assert.equal([body.liveness.interval, body.liveness.timeout], [10, 5]);
  });

  test("reach the agent, those that older ones cannot read apart from the rest", async () => {
    await using controller = await aController();
    await prepare(controller, 1);
    const agent = await aFakeAgent(controller);
    const wanted = {
      kind: "http",
      port: 80,
      path: "/",
      intervalMs: 2000,
      timeoutMs: 1000,
      failureThreshold: 3,
    };
    await put(controller, { health: web });
    assert.equal(await specOf(controller, agent), { health: wanted, probes: undefined });
  });

  test("of a subscription win over those of its cartridge, one by one", async () => {
    await using controller = await aController();
    await prepare(controller, 1);
    const agent = await aFakeAgent(controller);
    await put(controller, { health: web, startup: exec, liveness: exec }, "cartridges/hello");
    await put(controller, {
      health: { ...exec, command: ["/own"] },
      liveness: { kind: "none" },
    });
    const { health, probes } = await specOf(controller, agent);
    assert.is(health, undefined);
    assert.equal(probes?.readiness?.kind === "exec" && probes.readiness.command, ["/own"]);
    assert.equal(probes?.startup?.kind === "exec" && probes.startup.command, ["/bin/check"]);
    assert.is(probes?.liveness, undefined);
  });

  test("can be none, which the image's is not asked about then", async () => {
    await using controller = await aController();
    await prepare(controller, 1);
    const agent = await aFakeAgent(controller);
    const none = { kind: "none" } as const;
    const { body } = await put(controller, { health: none, startup: none });
    assert.equal([body.health, body.startup], [none, none]);
    const { health, probes } = await specOf(controller, agent);
    assert.is(health, undefined);
    assert.equal(probes, { readiness: none, startup: none });
  });

  test("are refused where they are wrong, by the name of the field", async () => {
    await using controller = await aController();
    await prepare(controller);
    const wrong: readonly (readonly [field: object, path: string])[] = [
      [{ health: { kind: "grpc", port: 80 } }, "health.kind"],
      [{ health: {} }, "health.port"],
      [{ health: { port: 0 } }, "health.port"],
      [{ health: { port: 65_536 } }, "health.port"],
      [{ health: { port: 80, path: "ready" } }, "health.path"],
      [{ health: { port: 80, path: "/a b" } }, "health.path"],
      [{ health: { port: 80, path: "/\r\nX: y" } }, "health.path"],
      [{ health: { port: 80, headers: { "a b": "c" } } }, "health.headers.a b"],
      [{ health: { port: 80, headers: { a: "b\r\nc: d" } } }, "health.headers.a"],
      [{ health: { port: 80, interval: "10ms" } }, "health.interval"],
      [{ health: { port: 80, interval: "2h" } }, "health.interval"],
      [{ health: { port: 80, timeout: 0 } }, "health.timeout"],
      [{ health: { port: 80, failureThreshold: 0 } }, "health.failureThreshold"],
      [{ health: { port: 80, command: ["x"] } }, "health"],
      [{ health: { kind: "exec" } }, "health.command"],
      [{ health: { kind: "exec", command: [] } }, "health.command"],
      [{ health: { kind: "exec", command: "true" } }, "health.command"],
      [{ health: { kind: "exec", command: ["a\0b"] } }, "health.command.0"],
      [{ health: { kind: "exec", command: ["x"], interval: "500ms" } }, "health.interval"],
      [{ health: { kind: "none", port: 80 } }, "health"],
      [{ liveness: { port: 80, successThreshold: 2 } }, "liveness"],
      [{ startup: { port: 80, successThreshold: 2 } }, "startup"],
      [{ startup: { port: 80, failureThreshold: 10_001 } }, "startup.failureThreshold"],
    ];
    for (const [fields, path] of wrong) {
      const { status, body } = await put(controller, fields);
      assert.is(status, 422, JSON.stringify(fields));
      assert.is(body.code, "INVALID");
      assert.is(body.errors[0].path, path, JSON.stringify(body.errors));
    }
  });
});

suite("what probes say of a process", (test) => {
  test("is shown with it, and told when it changes", async () => {
    await using controller = await aController();
    await prepare(controller, 1);
    const agent = await aFakeAgent(controller);
    const events = async (): Promise<readonly string[]> => {
      const { body } = await controller.call("GET", "/v1/events?limit=1000");
      return body.items
        .filter(({ type }: { type: string }) => type.startsWith("process."))
        .map(
          ({ type, message }: { type: string; message: string }) =>
            `${type} ${message.replace(/^\S+ \S+ /, "")}`,
        );
    };
    controller.settle();
    await agent.work();
    const before = (await events()).length;
    const problem = { code: "NOT_READY", message: "readiness probe: GET :80/ answered 503" };
    await agent.work(() => ({ ready: false, problem }));
    const { body } = await controller.call("GET", "/v1/subscriptions/hi/processes");
    assert.equal([body.items[0].state, body.items[0].reason], ["running", problem]);
    const { status } = (await controller.call("GET", "/v1/subscriptions/hi")).body;
    assert.is(status.message, "readiness probe: GET :80/ answered 503 (NOT_READY)");
    const other = { ...problem, message: "readiness probe: GET :80/ answered 502" };
    await agent.work(() => ({ ready: false, problem: other }));
    await agent.work();
    assert.equal((await events()).slice(before), [
      "process.unready is unready: readiness probe: GET :80/ answered 503",
      "process.ready is ready",
    ]);
  });

  test("is told even when the process runs again before its agent reports", async () => {
    await using controller = await aController();
    await prepare(controller, 1);
    const agent = await aFakeAgent(controller);
    controller.settle();
    await agent.work();
    const problem = { code: "LIVENESS_FAILED", message: "liveness probe failed: no" };
    const lastExit = {
      code: 143,
      reason: "signaled" as const,
      at: "2026-01-01T00:00:00.000Z",
      problem,
    };
    for (let times = 0; times < 2; times += 1) await agent.work(() => ({ restarts: 1, lastExit }));
    const { body } = await controller.call("GET", "/v1/events?limit=1000");
    const told = body.items.filter(({ type }: { type: string }) => type === "process.restarted");
    assert.is(told.length, 1);
    assert.match(told[0].message, /is restarted: liveness probe failed: no$/);
    assert.is(told[0].data.code, "LIVENESS_FAILED");
    const shown = await controller.call("GET", "/v1/subscriptions/hi/processes");
    assert.equal(shown.body.items[0].lastExit.problem, problem);
  });
});
