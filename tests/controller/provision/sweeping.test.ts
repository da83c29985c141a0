/** Level 2 at work: what a provider's own list says of VMs. */
import { parseVmId } from "@strata/controller/providers/provider";

import { aRunningFleet } from "../../support/fleet.ts";
import { assert, suite } from "../../support/suite.ts";

/** Many seconds of the clock, on a machine that may be busy. */
const slowly = { timeoutMs: 120_000 };

suite("the sweep", (test) => {
  test(
    "a VM that is gone at its provider is forgotten and replaced within a minute",
    async () => {
      await using fleet = await aRunningFleet(8);
      const [victim = ""] = [...fleet.agents.keys()];
      fleet.destroy(victim);
      await fleet.until(
        "it is forgotten",
        async () => (await fleet.vms()).every(({ id }) => id !== victim),
        45,
      );
      await fleet.until("all are running", async () => (await fleet.running()) === 8, 60);
      assert.is((await fleet.cloudVms()).length, 2);
      const { body } = await fleet.controller.call("GET", "/v1/nodes");
      assert.is(body.items.length, 2);
    },
    slowly,
  );

  test(
    "VMs that nobody knows are deleted, those of another state are left alone",
    async () => {
      await using fleet = await aRunningFleet(4);
      const { requests } = fleet;
      const request = requests[0]?.request;
      if (request === undefined) throw new Error("nothing was requested");
      const { signal } = new AbortController();
      const provider = fleet.connect();
      await provider.create({ ...request, clientToken: "web-leaked" }, signal);
      await provider.create(
        { ...request, clientToken: "web-restored", labels: { epoch: "another" } },
        signal,
      );
      await fleet.until(
        "it is gone",
        async () => !(await fleet.cloudVms()).includes("web-leaked"),
        400,
      );
      await fleet.pass(300);
      assert.ok((await fleet.cloudVms()).includes("web-restored"));
      assert.is((await fleet.cloudVms()).length, 2);
      const { body } = await fleet.controller.call("GET", "/v1/events?type=vm.leaked");
      assert.is(body.items.length, 1);
      await provider.delete(parseVmId("tested/web-restored"), signal);
    },
    slowly,
  );
});
