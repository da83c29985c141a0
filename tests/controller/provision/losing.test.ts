/** Level 2 at work: nodes that are lost, VMs that nobody knows, and controllers that die. */
import { parseVmId } from "@strata/controller/providers/provider";

import { aFleet, type Fleet } from "../../support/fleet.ts";
import { assert, suite } from "../../support/suite.ts";

async function aRunningFleet(processes: number, policy: object = {}): Promise<Fleet> {
  const fleet = await aFleet({ policy });
  await fleet.scale(processes);
  await fleet.until("all are running", async () => (await fleet.running()) === processes);
  // Past the first minute, in which nobody is found silent.
  await fleet.pass(70);
  return fleet;
}

/** One process on a node: many nodes and little to do. */
const single = { packing: { exclusive: true } };

suite("lost nodes", (test) => {
  test("a VM that is gone at its provider is forgotten and replaced within a minute", async () => {
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
  });

  test("a node that only fell silent is kept until replaceAfter, then deleted with its VM", async () => {
    await using fleet = await aRunningFleet(6, {
      ...single,
      breakers: { replaceAfter: "3m" },
    });
    const [silent = ""] = [...fleet.agents.keys()];
    fleet.silence(silent);
    await fleet.until("all are running", async () => (await fleet.running()) === 6, 180);
    assert.ok((await fleet.cloudVms()).includes(silent));
    await fleet.until("it is deleted", async () => !(await fleet.cloudVms()).includes(silent), 300);
    await fleet.pass(5);
    assert.ok((await fleet.vms()).every(({ id }) => id !== silent));
  });

  test("nothing is touched while more than 45 % and more than three are away", async () => {
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
  });

  test("30 % of the nodes lost at once are made good", async () => {
    await using fleet = await aRunningFleet(10, single);
    const all = await fleet.cloudVms();
    assert.is(all.length, 10);
    for (const vm of all.slice(0, 3)) fleet.destroy(vm);
    await fleet.until("they are seen to be lost", async () => (await fleet.running()) === 7, 60);
    await fleet.until("all are running", async () => (await fleet.running()) === 10, 120);
    assert.is((await fleet.cloudVms()).length, 10);
    assert.is((await fleet.vms()).length, 10);
  });

  test("VMs that nobody knows are deleted, those of another state are left alone", async () => {
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
  });
});
