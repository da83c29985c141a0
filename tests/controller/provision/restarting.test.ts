/** Level 2 at work: a controller that is killed at every point of the making and deleting of VMs. */
import { aFleet } from "../../support/fleet.ts";
import { assert, suite } from "../../support/suite.ts";

/** Many seconds of the clock, on a machine that may be busy. */
const slowly = { timeoutMs: 120_000 };

const quick = { emptyAfter: "5s", afterAdd: "0s", percentAtOnce: 100 };

suite("a killed controller", (test) => {
  test(
    "leaks no VM and makes none twice, whenever it dies",
    async () => {
      // From the first second of the wish to the last of the deletion: each point once.
      for (let second = 0; second <= 44; second += 4) {
        await using fleet = await aFleet({
          restarts: true,
          bootMs: () => 15_000,
          policy: { remove: quick },
        });
        await fleet.scale(8);
        await fleet.pass(Math.min(second, 24));
        if (second > 24) {
          await fleet.scale(0);
          await fleet.pass(second - 24);
          await fleet.restart();
        } else {
          await fleet.restart();
          await fleet.until("all are running", async () => (await fleet.running()) === 8);
          assert.is((await fleet.cloudVms()).length, 2, `killed after ${second} s`);
          await fleet.scale(0);
        }
        await fleet.until("no VM is left", async () => (await fleet.cloudVms()).length === 0);
        await fleet.pass(3);
        assert.equal(await fleet.vms(), [], `killed after ${second} s`);
        const names = new Set(fleet.requests.map(({ request }) => request.clientToken));
        assert.is(names.size, 2, `killed after ${second} s`);
      }
    },
    { timeoutMs: 150_000 },
  );

  test(
    "asks again with the same token when it died before the answer",
    async () => {
      await using fleet = await aFleet({ restarts: true });
      fleet.hang("create");
      await fleet.scale(4);
      await fleet.pass(3, { idle: false });
      assert.is(fleet.requests.length, 1);
      await fleet.restart();
      await fleet.until("all are running", async () => (await fleet.running()) === 4);
      assert.is(new Set(fleet.requests.map(({ request }) => request.clientToken)).size, 1);
      assert.is((await fleet.cloudVms()).length, 1);
    },
    slowly,
  );

  test(
    "deletes again when it died before the answer",
    async () => {
      await using fleet = await aFleet({ restarts: true, policy: { remove: quick } });
      await fleet.scale(4);
      await fleet.until("all are running", async () => (await fleet.running()) === 4);
      fleet.hang("delete");
      await fleet.scale(0);
      await fleet.pass(20, { idle: false });
      assert.is((await fleet.vms())[0]?.state, "deleting");
      await fleet.restart();
      await fleet.pass(3);
      assert.equal(await fleet.vms(), []);
      assert.equal(await fleet.cloudVms(), []);
    },
    slowly,
  );
});
