import { existsSync } from "node:fs";

import { mustBecome } from "../support/running-instance.ts";
import { assert, suite } from "../support/suite.ts";
import { anUpgradableNode } from "../support/upgradable-node.ts";

suite("a node that was deleted", (test) => {
  test(
    "stops what it runs, and its agent ends and is not started again",
    async () => {
      await using scene = await anUpgradableNode();
      const { controller, agent, processes, node } = scene;
      const before = await processes();
      assert.is(before.length, 2);
      const { name } = await node();
      const held = await controller.call("DELETE", `/v1/nodes/${name}`);
      assert.equal([held.status, held.body.code], [409, "IN_USE"]);
      const forced = await controller.call("DELETE", `/v1/nodes/${name}?force=true`);
      assert.is(forced.status, 204);
      await mustBecome("the agent has given up the node", () =>
        Promise.resolve(agent.readState("identity.json.former") !== undefined || undefined),
      );
      for (const { pid } of before) assert.not(existsSync(`/proc/${pid}`), `${pid} runs on`);
      await mustBecome("its keeper has ended", () =>
        Promise.resolve(agent.hasEnded() || undefined),
      );
      assert.match(agent.log(), /an operator deleted this node/);
      assert.is(agent.readState("identity.json"), undefined);
    },
    { timeoutMs: 300_000 },
  );
});
