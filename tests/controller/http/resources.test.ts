import { aController, type Answer, type TestController } from "../../support/controller.ts";
import { aFakeAgent, aCapacity, GIB, prepare } from "../../support/fake-agent.ts";
import { assert, suite } from "../../support/suite.ts";

const putTo =
  (controller: TestController) =>
  (path: string, body: unknown, headers: Readonly<Record<string, string>> = {}): Promise<Answer> =>
    controller.call("PUT", path, { body, headers });

suite("PUT", (test) => {
  test("creates with 201, changes with 200 and a new revision, and leaves what is the same alone", async () => {
    await using controller = await aController();
    const first = await putTo(controller)("/v1/partitions/web", {});
    assert.equal([first.status, first.headers.get("etag")], [201, '"1"']);
    const same = await putTo(controller)("/v1/partitions/web", { description: "" });
    assert.equal([same.status, same.body.revision], [200, 1]);
    controller.advance(1000);
    const changed = await putTo(controller)("/v1/partitions/web", { description: "x" });
    assert.equal([changed.status, changed.body.revision], [200, 2]);
    assert.is.not(changed.body.updatedAt, changed.body.createdAt);
    const { body } = await controller.call("GET", "/v1/events?type=partition");
    assert.is(body.items.length, 2);
  });

  test("with If-Match changes only the revision that the caller saw", async () => {
    await using controller = await aController();
    await putTo(controller)("/v1/partitions/web", {});
    const stale = await putTo(controller)(
      "/v1/partitions/web",
      { description: "x" },
      { "if-match": '"7"' },
    );
    assert.equal([stale.status, stale.body.code], [412, "REVISION_STALE"]);
    assert.match(stale.body.detail, /revision 1/);
    assert.is(
      (await putTo(controller)("/v1/partitions/web", { description: "x" }, { "if-match": '"1"' }))
        .status,
      200,
    );
    assert.is(
      (await putTo(controller)("/v1/partitions/none", {}, { "if-match": "*" })).status,
      412,
    );
    assert.is(
      (await putTo(controller)("/v1/partitions/web", {}, { "if-none-match": "*" })).status,
      412,
    );
    assert.is(
      (await putTo(controller)("/v1/partitions/web", {}, { "if-match": "what" })).status,
      422,
    );
    const gone = await controller.call("DELETE", "/v1/partitions/web", {
      headers: { "if-match": '"1"' },
    });
    assert.is(gone.status, 412);
    assert.is(
      (await controller.call("DELETE", "/v1/partitions/web", { headers: { "if-match": '"2"' } }))
        .status,
      204,
    );
  });

  test("refuses what is wrong, names each field, and changes nothing", async () => {
    await using controller = await aController();
    await prepare(controller);
    const before = await controller.call("GET", "/v1/events");
    const bad: readonly (readonly [string, unknown, number, string])[] = [
      ["/v1/subscriptions/Bad_Alias", { cartridge: "hello" }, 422, "INVALID"],
      [`/v1/subscriptions/${"a".repeat(55)}`, { cartridge: "hello" }, 422, "INVALID"],
      ["/v1/subscriptions/hi", { cartridge: "hello", processes: -1 }, 422, "INVALID"],
      ["/v1/subscriptions/hi", { cartridge: "hello", proceses: 1 }, 422, "INVALID"],
      ["/v1/subscriptions/hi", { cartridge: "hello", env: { A: "a\nb" } }, 422, "INVALID"],
      [
        "/v1/subscriptions/hi",
        { cartridge: "hello", resources: { memory: "lots" } },
        422,
        "INVALID",
      ],
      ["/v1/subscriptions/hi", "[1]", 422, "INVALID"],
      ["/v1/subscriptions/hi", "not json", 400, "JSON_INVALID"],
      ["/v1/subscriptions/hi", '{"cartridge":"hello","cartridge":"x"}', 400, "JSON_INVALID"],
      ["/v1/subscriptions/hi", { cartridge: "helo" }, 422, "REFERENCE_UNKNOWN"],
      ["/v1/subscriptions/hi", { cartridge: "hello", partition: "php" }, 422, "REFERENCE_UNKNOWN"],
      [
        "/v1/subscriptions/hi",
        { cartridge: "hello", scalingPolicy: "no" },
        422,
        "REFERENCE_UNKNOWN",
      ],
      ["/v1/cartridges/x", { image: "hello:3" }, 422, "IMAGE_NOT_FOUND"],
      ["/v1/cartridges/x", { image: "artifact:1" }, 422, "IMAGE_NOT_RUNNABLE"],
      ["/v1/cartridges/x", { image: "https://example.org/hello:1" }, 422, "INVALID"],
      ["/v1/partitions/x", { policy: "none" }, 422, "REFERENCE_UNKNOWN"],
      ["/v1/scaling-policies/x", { min: 3, max: 1 }, 422, "INVALID"],
    ];
    for (const [path, body, status, code] of bad) {
      const answer = await putTo(controller)(path, body);
      assert.equal(
        [answer.status, answer.body.code],
        [status, code],
        `${path} ${JSON.stringify(body)}`,
      );
      assert.is(answer.headers.get("content-type"), "application/problem+json");
      assert.ok(answer.body.hint.length > 10, `${code} names no remedy`);
    }
    const misspelt = await putTo(controller)("/v1/subscriptions/hi", {
      cartridge: "hello",
      processes: -1,
      ports: 3,
    });
    assert.equal(misspelt.body.errors.map(({ path }: { path: string }) => path).toSorted(), [
      "ports",
      "processes",
    ]);
    assert.equal(await controller.call("GET", "/v1/events").then(({ body }) => body), before.body);
  });

  test("refuses a body over the limit, told or not", async () => {
    await using controller = await aController();
    const body = JSON.stringify({ description: "x".repeat(1024 * 1024) });
    assert.is((await putTo(controller)("/v1/partitions/web", body)).status, 413);
    // A Request alone may have a body whose length nobody knows.
    const request = new Request("http://controller/v1/partitions/web", {
      method: "PUT",
      headers: { authorization: `Bearer ${controller.adminToken}` },
      body: new Blob([body]).stream(),
      duplex: "half",
    });
    const answer = await controller.request(request);
    assert.is(answer.status, 413);
  });

  test("refuses limits that no node of the partition could ever hold, and names the largest", async () => {
    await using controller = await aController();
    await prepare(controller);
    const big = { cartridge: "hello", resources: { memory: "16Gi" } };
    assert.is(
      (await putTo(controller)("/v1/subscriptions/early", big)).status,
      201,
      "no node yet: nobody knows",
    );
    await aFakeAgent(controller, {
      name: "large",
      capacity: { ...aCapacity, memoryBytes: 8 * GIB },
    });
    const answer = await putTo(controller)("/v1/subscriptions/late", big);
    assert.equal([answer.status, answer.body.code], [422, "LIMITS_UNSATISFIABLE"]);
    assert.match(answer.body.hint, /large, has memory 8Gi, cpu 4/);
    assert.is((await controller.call("GET", "/v1/subscriptions/late")).status, 404);
    const cartridge = await putTo(controller)("/v1/cartridges/hello", {
      image: "hello:1",
      partition: "web",
      resources: { memory: "1Gi", cpu: 64 },
    });
    assert.is(cartridge.body.code, "LIMITS_UNSATISFIABLE", "it would break a subscription");
  });
});

suite("scaling policies", (test) => {
  test("bound what may be asked for, and bring inside what was outside", async () => {
    await using controller = await aController();
    await prepare(controller);
    await putTo(controller)("/v1/scaling-policies/few", { min: 2, max: 4 });
    const created = await putTo(controller)("/v1/subscriptions/hi", {
      cartridge: "hello",
      scalingPolicy: "few",
    });
    assert.is(created.body.processes, 2);
    const scale = (processes: number): ReturnType<TestController["call"]> =>
      controller.call("POST", "/v1/subscriptions/hi/scale", { body: { processes } });
    assert.equal(
      [(await scale(5)).status, (await scale(5)).body.code],
      [422, "PROCESSES_OUT_OF_BOUNDS"],
    );
    assert.is((await scale(4)).body.processes, 4);
    await putTo(controller)("/v1/scaling-policies/few", { min: 1, max: 3 });
    assert.is((await controller.call("GET", "/v1/subscriptions/hi")).body.status.desired, 3);
  });
});

suite("DELETE", (test) => {
  test("of a thing in use names the users, and of one that is not there says so", async () => {
    await using controller = await aController();
    await putTo(controller)("/v1/partition-policies/small", {});
    await putTo(controller)("/v1/partitions/web", { policy: "small" });
    await putTo(controller)("/v1/cartridges/hello", { image: "hello:1", partition: "web" });
    await putTo(controller)("/v1/scaling-policies/few", { min: 0, max: 4 });
    await putTo(controller)("/v1/subscriptions/hi", {
      cartridge: "hello",
      scalingPolicy: "few",
      processes: 0,
    });
    const users = {
      "/v1/partition-policies/small": /partition web/,
      "/v1/partitions/web": /cartridge hello, subscription default\/hi/,
      "/v1/cartridges/hello": /subscription default\/hi/,
      "/v1/scaling-policies/few": /subscription default\/hi/,
    };
    for (const [path, named] of Object.entries(users)) {
      const answer = await controller.call("DELETE", path);
      assert.equal([answer.status, answer.body.code], [409, "IN_USE"]);
      assert.match(answer.body.detail, named);
    }
    await controller.call("DELETE", "/v1/subscriptions/hi");
    controller.settle();
    for (const path of Object.keys(users).toReversed()) {
      assert.is((await controller.call("DELETE", path)).status, 204, path);
      assert.is((await controller.call("DELETE", path)).status, 404, path);
    }
  });
});

suite("lists", (test) => {
  test("come in pages", async () => {
    await using controller = await aController();
    for (const name of ["c", "a", "e", "b", "d"])
      await putTo(controller)(`/v1/partitions/${name}`, {});
    const names: string[] = [];
    for (let after: string | null = ""; after !== null;) {
      const { body }: { body: { items: { name: string }[]; next: string | null } } =
        await controller.call("GET", `/v1/partitions?limit=2&after=${after}`);
      assert.ok(body.items.length <= 2);
      names.push(...body.items.map(({ name }) => name));
      after = body.next;
    }
    assert.equal(names, ["a", "b", "c", "d", "e"]);
    assert.is((await controller.call("GET", "/v1/partitions?limit=0")).status, 422);
    assert.is((await controller.call("GET", "/v1/partitions?colour=red")).status, 422);
  });
});

suite("cartridges", (test) => {
  test("a moved tag is followed at the next PUT, with the ports that the image exposes", async () => {
    await using controller = await aController();
    await prepare(controller, 1);
    const agent = await aFakeAgent(controller);
    controller.settle();
    await agent.poll();
    assert.equal([...agent.told.values()][0]?.spec.ports, []);
    await putTo(controller)("/v1/cartridges/hello", { image: "hello:2", partition: "web" });
    const { body } = await controller.call("GET", "/v1/subscriptions/hi");
    assert.is(body.generation, 2);
    controller.settle();
    await agent.work();
    const specs = [...agent.told.values()].map(({ spec }) => spec.ports);
    assert.ok(specs.some((ports) => ports[0]?.containerPort === 8080));
  });

  test("a subscription follows its cartridge to another partition unless it names its own", async () => {
    await using controller = await aController();
    await prepare(controller, 1);
    await putTo(controller)("/v1/subscriptions/own", { cartridge: "hello", partition: "web" });
    await putTo(controller)("/v1/partitions/php", {});
    await putTo(controller)("/v1/cartridges/hello", { image: "hello:1", partition: "php" });
    const partition = async (alias: string): Promise<string> =>
      (await controller.call("GET", `/v1/subscriptions/${alias}`)).body.partition;
    assert.equal([await partition("hi"), await partition("own")], ["php", "web"]);
  });
});
