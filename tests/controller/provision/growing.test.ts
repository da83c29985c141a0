/** Level 2 at work: nodes that come. */
import { aFleet } from "../../support/fleet.ts";
import { assert, suite } from "../../support/suite.ts";

/** Many seconds of the clock, on a machine that may be busy. */
const slowly = { timeoutMs: 120_000 };

suite("nodes that come", (test) => {
  test(
    "from none, as many as are needed are asked for in one step, within two seconds",
    async () => {
      await using fleet = await aFleet();
      await fleet.scale(10);
      await fleet.pass(2);
      assert.is(fleet.requests.length, 3);
      await fleet.until("all are running", async () => (await fleet.running()) === 10);
      assert.is(fleet.requests.length, 3);
      assert.is((await fleet.cloudVms()).length, 3);
      assert.ok((await fleet.reasons()).includes("add 3 of cloud/small: 10 of hi had no room"));
    },
    slowly,
  );

  test(
    "the minimum is kept without any process, and the maximum is not passed",
    async () => {
      await using fleet = await aFleet({ policy: { minNodes: 1, maxNodes: 2 } });
      await fleet.pass(3);
      assert.is((await fleet.cloudVms()).length, 1);
      await fleet.scale(20);
      await fleet.until("two nodes are full", async () => (await fleet.running()) === 8);
      await fleet.pass(60);
      assert.is((await fleet.cloudVms()).length, 2);
      const [reason = ""] = await fleet.reasons();
      assert.match(reason, /12 of hi have no room, but no offer or limit allows more/);
      const { body } = await fleet.controller.call("GET", "/v1/partitions/web");
      assert.is(body.status.message, reason);
    },
    slowly,
  );

  test(
    "a VM that joined tells how long it took, and its token is gone",
    async () => {
      await using fleet = await aFleet({ bootMs: () => 40_000 });
      await fleet.scale(1);
      await fleet.until("it runs", async () => (await fleet.running()) === 1);
      const events = await fleet.controller.call("GET", "/v1/events?type=vm.joined");
      const [{ bootMs }] = events.body.items.map(({ data }: { data: object }) => data);
      assert.ok(bootMs >= 40_000 && bootMs <= 44_000, `${bootMs}`);
      const tokens = await fleet.controller.call("GET", "/v1/join-tokens");
      assert.equal(tokens.body.items, []);
      const [vm] = (await fleet.controller.call("GET", "/v1/vms")).body.items;
      assert.is(vm.state, "joined");
      assert.is(vm.node, vm.id);
    },
    slowly,
  );

  test(
    "what nodes report is believed more than the flavor",
    async () => {
      // The flavor promises 4 GiB; nodes have half of it, so four processes need two of them.
      await using fleet = await aFleet({ nodeGib: 2 });
      await fleet.scale(4);
      await fleet.until("all are running", async () => (await fleet.running()) === 4);
      assert.is((await fleet.cloudVms()).length, 2);
      // Learned: eight more need four more nodes, in one step.
      const before = fleet.requests.length;
      await fleet.scale(12);
      await fleet.pass(3);
      assert.is(fleet.requests.length - before, 4);
    },
    slowly,
  );
});
