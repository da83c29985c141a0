/** Level 2 at work: providers that do not do what they are asked. */
import { aFleet } from "../../support/fleet.ts";
import { assert, suite } from "../../support/suite.ts";

/** Many seconds of the clock, on a machine that may be busy. */
const slowly = { timeoutMs: 120_000 };

suite("providers that fail", (test) => {
  test(
    "another provider is asked when one refuses, and the first is left alone",
    async () => {
      await using fleet = await aFleet({ clouds: ["one", "two"] });
      fleet.cloud("one").addFault({ method: "create", code: "PROVIDER_CAPACITY" });
      await fleet.scale(8);
      await fleet.until("all are running", async () => (await fleet.running()) === 8);
      assert.is((await fleet.cloudVms("one")).length, 0);
      assert.is((await fleet.cloudVms("two")).length, 2);
      const asked = fleet.requests.filter(({ cloud }) => cloud === "one").length;
      assert.is(asked, 2);
      const { body } = await fleet.controller.call("GET", "/v1/events?type=provider.failed");
      assert.is(body.items.length, 1);
      assert.is(body.items[0].data.code, "PROVIDER_CAPACITY");
    },
    slowly,
  );

  test(
    "VMs that never join are deleted, and the next provider is asked",
    async () => {
      await using fleet = await aFleet({
        clouds: ["one", "two"],
        bootMs: () => 30_000,
        dead: ["one"],
        policy: { joinTimeout: "2m" },
      });
      await fleet.scale(4);
      await fleet.until("all are running", async () => (await fleet.running()) === 4);
      await fleet.pass(5);
      assert.equal(await fleet.cloudVms("one"), []);
      assert.is((await fleet.cloudVms("two")).length, 1);
      assert.ok((await fleet.reasons()).some((reason) => reason.includes("never-joined")));
    },
    slowly,
  );

  test(
    "a lost answer makes no second VM",
    async () => {
      await using fleet = await aFleet();
      fleet.cloud().addFault({ method: "create", code: "PROVIDER_TIMEOUT", done: true, times: 1 });
      await fleet.scale(4);
      await fleet.until("all are running", async () => (await fleet.running()) === 4);
      await fleet.pass(300);
      assert.is((await fleet.cloudVms()).length, 1);
      assert.is((await fleet.vms()).length, 1);
    },
    slowly,
  );

  test(
    "a deletion that fails is tried again until it is done",
    async () => {
      await using fleet = await aFleet({
        policy: { remove: { emptyAfter: "10s", afterAdd: "0s" } },
      });
      await fleet.scale(1);
      await fleet.until("it runs", async () => (await fleet.running()) === 1);
      fleet.cloud().addFault({ method: "delete", code: "PROVIDER_UNREACHABLE", times: 3 });
      await fleet.scale(0);
      await fleet.until("the VM is gone", async () => (await fleet.cloudVms()).length === 0);
      await fleet.pass(2);
      assert.equal(await fleet.vms(), []);
      assert.equal((await fleet.controller.call("GET", "/v1/nodes")).body.items, []);
    },
    slowly,
  );

  test(
    "the cheapest offer is asked first where the policy says so",
    async () => {
      await using fleet = await aFleet({
        clouds: ["dear", "cheap"],
        policy: {
          order: "cheapest",
          providers: [
            { provider: "dear", flavor: "small", price: 2 },
            { provider: "cheap", flavor: "small", price: 1, maxNodes: 1 },
          ],
        },
      });
      await fleet.scale(8);
      await fleet.pass(3);
      assert.equal(
        fleet.requests.map(({ cloud }) => cloud),
        ["cheap", "dear"],
      );
    },
    slowly,
  );
});
