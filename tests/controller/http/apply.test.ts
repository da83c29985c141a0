import { aController, type TestController } from "../../support/controller.ts";
import { assert, suite } from "../../support/suite.ts";

const documents = `
kind: Subscription
name: hi
cartridge: hello
processes: 3
---
kind: Cartridge
name: hello
image: hello:1
partition: web
---
kind: Partition
name: web
---
kind: ScalingPolicy
name: few
max: 4
---
`;

const apply = (
  controller: TestController,
  body: string,
  query = "",
): ReturnType<TestController["call"]> => controller.call("POST", `/v1/apply${query}`, { body });

const actions = (body: { results: { kind: string; name: string; action: string }[] }): string[] =>
  body.results.map(({ kind, name, action }) => `${kind} ${name} ${action}`);

suite("POST /v1/apply", (test) => {
  test("takes documents in any order, and does nothing the second time", async () => {
    await using controller = await aController();
    const first = await apply(controller, documents);
    assert.is(first.status, 200);
    assert.equal(actions(first.body), [
      "ScalingPolicy few created",
      "Partition web created",
      "Cartridge hello created",
      "Subscription hi created",
    ]);
    const second = await apply(controller, documents);
    assert.ok(actions(second.body).every((line) => line.endsWith("unchanged")));
    const third = await apply(controller, documents.replace("processes: 3", "processes: 1"));
    assert.equal(third.body.results[3].changes, ["processes: 3 -> 1"]);
  });

  test("with dryRun tells the same and changes nothing", async () => {
    await using controller = await aController();
    const told = await apply(controller, documents, "?dryRun=true");
    assert.is(actions(told.body).length, 4);
    assert.is((await controller.call("GET", "/v1/partitions")).body.items.length, 0);
    assert.not.ok(
      (await controller.call("GET", "/v1/events")).body.items.some(
        ({ type }: { type: string }) => type === "partition.created",
      ),
    );
    const done = await apply(controller, documents);
    assert.equal(told.body, done.body);
  });

  test("is all or nothing", async () => {
    await using controller = await aController();
    const bad: readonly (readonly [string, number])[] = [
      [documents.replace("cartridge: hello", "cartridge: other"), 422],
      [documents.replace("hello:1", "hello:9"), 422],
      [documents.replace("processes: 3", "processes: many"), 422],
      [documents.replace("kind: Partition\n", "kind: Partitoin\n"), 422],
      [documents.replace("name: web", "name: web\nname: php"), 400],
      [`${documents}\n\t- : [`, 400],
      [
        "a: &a [1]\nb: &b [*a,*a,*a,*a,*a,*a,*a,*a,*a]\nc: &c [*b,*b,*b,*b,*b,*b,*b,*b]\nd: [*c,*c,*c,*c,*c,*c]",
        400,
      ],
    ];
    for (const [text, status] of bad) {
      const answer = await apply(controller, text);
      assert.is(answer.status, status, text);
      assert.is((await controller.call("GET", "/v1/partitions")).body.items.length, 0);
    }
  });

  test("takes JSON: one document, a list, or one in each line", async () => {
    await using controller = await aController();
    const one = (name: string): string => JSON.stringify({ kind: "Partition", name });
    assert.equal(actions((await apply(controller, one("a"))).body), ["Partition a created"]);
    assert.is((await apply(controller, `[${one("b")},${one("c")}]`)).body.results.length, 2);
    assert.is((await apply(controller, `${one("d")}\n${one("e")}\n`)).body.results.length, 2);
    assert.is((await apply(controller, '{"kind":"Partition","name":"f","name":"g"}')).status, 400);
  });

  test("lets a deployer write what is a deployer's alone", async () => {
    await using controller = await aController();
    await apply(controller, documents);
    const made = await controller.call("POST", "/v1/tokens", {
      body: { name: "d", scope: "deployer" },
    });
    const { token } = made.body;
    const send = (body: string): ReturnType<TestController["call"]> =>
      controller.call("POST", "/v1/apply", { body, token });
    assert.is((await send("kind: Subscription\nname: mine\ncartridge: hello")).status, 200);
    assert.is((await send("kind: Partition\nname: mine")).status, 403);
  });
});
