import { PlacementExplanation } from "@strata/protocol/api/placement";

import { aFakeAgent, prepare } from "../support/fake-agent.ts";
import { assert, suite } from "../support/suite.ts";
import { aControllerServer } from "./support/controller-server.ts";
import { runCli } from "./support/run-cli.ts";

suite("strata placement", (test) => {
  test("says why a process is where it is, and of each node why another is not there", async () => {
    await using server = await aControllerServer();
    const { controller, env } = server;
    await prepare(controller, 1);
    await aFakeAgent(controller, { name: "a" });
    await aFakeAgent(controller, { name: "b", labels: { disk: "ssd" } });
    await controller.call("POST", "/v1/nodes/b/cordon", { body: {} });
    const body = { cartridge: "hello", placement: { labels: { disk: "ssd" } } };
    await controller.call("PUT", "/v1/subscriptions/picky", { body });
    controller.settle();
    const idOf = async (alias: string): Promise<string> => {
      const answer = await controller.call("GET", `/v1/subscriptions/${alias}/processes`);
      return answer.body.items[0].id;
    };
    const placed = await runCli(["placement", await idOf("hi")], { env });
    assert.match(
      placed.stdout,
      /^hi-\w+ is on a since 2026-01-01T00:00:00Z: the fullest node that has room$/m,
    );
    const picky = await idOf("picky");
    const waiting = await runCli(["placement", picky], { env });
    const lines = waiting.stdout.trimEnd().split("\n");
    assert.match(lines[0] ?? "", /^picky-\w+ is on no node: no node has room: /);
    assert.equal(lines.slice(1), [
      "nodes: LABELS 1, CLOSED 1",
      "",
      "NODE  CODE    WHY",
      "a     LABELS  lacks the label disk=ssd",
      "b     CLOSED  is cordoned",
    ]);
    const json = await runCli(["placement", picky, "-o", "json"], { env });
    assert.equal(PlacementExplanation.parse(JSON.parse(json.stdout)).totals, {
      LABELS: 1,
      CLOSED: 1,
    });
    const unknown = await runCli(["placement", "nothing"], { env });
    assert.is.not(unknown.status, 0);
    assert.match(unknown.stderr, /there is no process nothing/);
  });
});
