import { createControllerClient, createDispatcher } from "@strata/agent/controller-client";

import { aControllerServer } from "../../cli/support/controller-server.ts";
import { aFakeAgent } from "../../support/fake-agent.ts";
import { assert, rejectsWithCode, suite } from "../../support/suite.ts";

suite("an agent that asks the controller for a secret", (test) => {
  test("gets the bytes that were set, while a process of its own needs them", async () => {
    await using server = await aControllerServer();
    const { controller } = server;
    await controller.call("PUT", "/v1/partitions/web", { body: {} });
    await controller.call("PUT", "/v1/cartridges/hello", {
      body: { image: "hello:1", partition: "web" },
    });
    const value = Buffer.from([0, 255, 10, 13, 128]);
    await controller.call("PUT", "/v1/secrets/key", { body: { base64: value.toString("base64") } });
    const node = await aFakeAgent(controller);
    const dispatcher = createDispatcher({ url: server.url, caPem: undefined });
    try {
      const client = createControllerClient({ ...node, url: server.url }, dispatcher);
      const secret = { tenant: "default", name: "key", version: 1 };
      const { signal } = new AbortController();
      await rejectsWithCode(client.fetchSecret(secret, signal), "CONTROLLER_REFUSED");
      await controller.call("PUT", "/v1/subscriptions/shop", {
        body: { cartridge: "hello", files: [{ path: "/etc/key", secret: "key" }] },
      });
      controller.settle();
      assert.equal(await client.fetchSecret(secret, signal), value);
    } finally {
      await dispatcher.close();
    }
  });
});
