/** The example of a whole application, against the real controller and an agent that says what the test wants. */
import { readFileSync } from "node:fs";
import { join } from "node:path";

import { aController } from "../support/controller.ts";
import { aFakeAgent } from "../support/fake-agent.ts";
import { assert, suite } from "../support/suite.ts";

const text = readFileSync(join(import.meta.dirname, "../../examples/shop/apply.yaml"), "utf8")
  // The test's store has one image, under another name.
  .replaceAll("image: hello:latest", "image: hello:2");

suite("examples/shop", (test) => {
  test("is taken as a whole, tried first, and again without a change", async () => {
    await using controller = await aController();
    await controller.call("PUT", "/v1/partitions/local", { body: {} });
    const apply = async (query: string, body = text): Promise<readonly string[]> => {
      const answer = await controller.call("POST", `/v1/apply${query}`, { body });
      assert.is(answer.status, 200, JSON.stringify(answer.body));
      return answer.body.results.map(
        ({ kind, name, action }: Record<string, string>) => `${kind} ${name} ${action}`,
      );
    };
    const made = [
      "Cartridge shop created",
      "Cartridge shop-tools created",
      "Subscription db created",
      "Subscription web created",
      "Subscription worker created",
      "Job report created",
    ];
    assert.equal(await apply("?dryRun=true"), made);
    assert.equal((await controller.call("GET", "/v1/jobs")).body.items, []);
    // In the other order, too: each may name what comes after it.
    const turned = text.split(/^---$/m).toReversed().join("---\n");
    assert.equal(
      (await apply("?dryRun=true", turned)).toSorted((a, b) => a.localeCompare(b)),
      made.toSorted((a, b) => a.localeCompare(b)),
    );
    assert.equal(await apply(""), made);
    assert.ok((await apply("")).every((line) => line.endsWith("unchanged")));
    const broken = text.replace("dependsOn: [db]", "dependsOn: [nobody]").replace("30 2", "99 2");
    assert.is((await controller.call("POST", "/v1/apply", { body: broken })).status, 422);
  });

  test("begins with its database, and the worker follows web", async () => {
    await using controller = await aController();
    await controller.call("PUT", "/v1/partitions/local", { body: {} });
    const agent = await aFakeAgent(controller, { partition: "local" });
    await controller.call("POST", "/v1/apply", { body: text });
    const runs = async (): Promise<readonly string[]> => {
      controller.settle();
      await agent.poll();
      return [...agent.told.values()]
        .map(({ spec }) => spec.subscription)
        .toSorted((a, b) => a.localeCompare(b));
    };
    assert.equal(await runs(), ["db"]);
    await agent.work();
    assert.equal(await runs(), ["db", "web", "web", "worker"]);
    await controller.call("POST", "/v1/subscriptions/web/scale", { body: { processes: 5 } });
    const more = await runs();
    assert.is(more.filter((alias) => alias === "worker").length, 3);
  });
});
