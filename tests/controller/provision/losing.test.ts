/** Level 2 at work: nodes that are lost. */
import { aRunningFleet } from "../../support/fleet.ts";
import { assert, suite } from "../../support/suite.ts";

/** Many seconds of the clock, on a machine that may be busy. */
const slowly = { timeoutMs: 120_000 };

/** One process on a node: many nodes and little to do. */
const single = { packing: { exclusive: true } };

suite("lost nodes", (test) => {
  test(
    "a node that only fell silent is kept until replaceAfter, then deleted with its VM",
    async () => {
      await using fleet = await aRunningFleet(6, {
        ...single,
        breakers: { replaceAfter: "3m" },
      });
      const [silent = ""] = [...fleet.agents.keys()];
      fleet.silence(silent);
      await fleet.until("all are running", async () => (await fleet.running()) === 6, 180);
      assert.ok((await fleet.cloudVms()).includes(silent));
      await fleet.until(
        "it is deleted",
        async () => !(await fleet.cloudVms()).includes(silent),
        300,
      );
      await fleet.pass(5);
      assert.ok((await fleet.vms()).every(({ id }) => id !== silent));
    },
    slowly,
  );

  test(
    "nothing is touched while more than 45 % and more than three are away",
    async () => {
      await using fleet = await aRunningFleet(7, {
        ...single,
        breakers: { replaceAfter: "30s" },
      });
      const all = await fleet.cloudVms();
      assert.is(all.length, 7);
      for (const vm of all.slice(0, 4)) fleet.silence(vm);
      await fleet.pass(150);
      assert.equal((await fleet.cloudVms()).toSorted(), all.toSorted());
      const [reason = ""] = await fleet.reasons();
      assert.match(reason, /4 nodes are away at once/);
    },
    slowly,
  );

  test(
    "30 % of the nodes lost at once are made good",
    async () => {
      await using fleet = await aRunningFleet(10, single);
      const all = await fleet.cloudVms();
      assert.is(all.length, 10);
      for (const vm of all.slice(0, 3)) fleet.destroy(vm);
      await fleet.until("they are seen to be lost", async () => (await fleet.running()) === 7, 60);
      await fleet.until("all are running", async () => (await fleet.running()) === 10, 120);
      assert.is((await fleet.cloudVms()).length, 10);
      assert.is((await fleet.vms()).length, 10);
    },
    slowly,
  );
});
