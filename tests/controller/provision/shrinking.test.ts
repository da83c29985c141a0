/** Level 2 at work: nodes that go. */
import { aFleet, type Fleet, quarter } from "../../support/fleet.ts";
import { assert, suite } from "../../support/suite.ts";

/** Many seconds of the clock, on a machine that may be busy. */
const slowly = { timeoutMs: 120_000 };

const quick = { emptyAfter: "10s", belowAfter: "20s", afterAdd: "0s", percentAtOnce: 50 };

async function aFullFleet(processes: number, policy: object = {}): Promise<Fleet> {
  const fleet = await aFleet({ policy: { remove: quick, ...policy } });
  await fleet.scale(processes);
  await fleet.until("all are running", async () => (await fleet.running()) === processes);
  return fleet;
}

async function nodeStates(fleet: Fleet): Promise<readonly string[]> {
  const { body } = await fleet.controller.call("GET", "/v1/nodes");
  return body.items.map(({ state }: { state: string }) => state).toSorted();
}

/** Eight subscriptions of one process each, four on each of two nodes. */
async function twoFullNodes(
  fleet: Fleet,
): Promise<{ readonly stay: readonly string[]; readonly go: readonly string[] }> {
  const aliases = Array.from({ length: 8 }, (_, index) => `one-${index}`);
  for (const alias of aliases) {
    const body = { cartridge: "hello", processes: 1, resources: quarter };
    await fleet.controller.call("PUT", `/v1/subscriptions/${alias}`, { body });
  }
  await fleet.until("all are running", async () => (await countReady(fleet, aliases)) === 8);
  const { body } = await fleet.controller.call("GET", "/v1/processes");
  const byNode: readonly (readonly { readonly subscription: string }[])[] = [
    ...Map.groupBy(body.items, ({ node }: { node: string; subscription: string }) => node).values(),
  ];
  const [stay = [], go = []] = byNode.map((items) => items.map(({ subscription }) => subscription));
  assert.equal([stay.length, go.length, byNode.length], [4, 4, 2]);
  return { stay, go };
}

async function scaleOne(fleet: Fleet, alias: string, processes: number): Promise<void> {
  const { status } = await fleet.controller.call("POST", `/v1/subscriptions/${alias}/scale`, {
    body: { processes },
  });
  assert.is(status, 200);
}

async function countReady(fleet: Fleet, aliases: readonly string[]): Promise<number> {
  const { body } = await fleet.controller.call("GET", "/v1/subscriptions");
  return body.items
    .filter(({ alias }: { alias: string }) => aliases.includes(alias))
    .reduce((sum: number, { status }: { status: { ready: number } }) => sum + status.ready, 0);
}

suite("nodes that go", (test) => {
  test(
    "all of them go when nothing runs, down to the minimum",
    async () => {
      await using fleet = await aFullFleet(8, { minNodes: 1 });
      assert.is((await fleet.cloudVms()).length, 2);
      await fleet.scale(0);
      await fleet.until("one is left", async () => (await fleet.cloudVms()).length === 1);
      await fleet.pass(60);
      assert.is((await fleet.cloudVms()).length, 1);
      assert.is((await fleet.vms()).length, 1);
    },
    slowly,
  );

  test(
    "the emptiest node is drained, its process moved first, and its VM deleted",
    async () => {
      await using fleet = await aFleet({ policy: { remove: quick } });
      const { stay, go } = await twoFullNodes(fleet);
      for (const alias of [...go.slice(1), ...stay.slice(2)]) await scaleOne(fleet, alias, 0);
      const kept = [...go.slice(0, 1), ...stay.slice(0, 2)];
      let least = 3;
      await fleet.until("one node is left", async () => {
        least = Math.min(least, await countReady(fleet, kept));
        return (await fleet.cloudVms()).length === 1;
      });
      await fleet.pass(5);
      assert.is(least, 3);
      assert.is(await countReady(fleet, kept), 3);
      assert.equal(await nodeStates(fleet), ["ready"]);
      assert.ok((await fleet.reasons()).some((reason) => reason.startsWith("drain ")));
    },
    slowly,
  );

  test(
    "a drain is called off when load returns, before a new node is rented",
    async () => {
      await using fleet = await aFleet({ policy: { remove: quick } });
      const { stay, go } = await twoFullNodes(fleet);
      const gone = [...go.slice(1), ...stay.slice(2)];
      for (const alias of gone) await scaleOne(fleet, alias, 0);
      await fleet.until("one is drained", async () =>
        (await nodeStates(fleet)).includes("draining"),
      );
      const asked = fleet.requests.length;
      // One less than there is room for: what moves is on two nodes for a moment.
      const back = gone.slice(1);
      for (const alias of back) await scaleOne(fleet, alias, 1);
      const all = [...stay, ...go];
      await fleet.until("all are running", async () => (await countReady(fleet, all)) === 7);
      assert.equal(await nodeStates(fleet), ["ready", "ready"]);
      assert.is(fleet.requests.length, asked);
      assert.ok((await fleet.reasons()).some((reason) => /^use \S+ again/.test(reason)));
    },
    slowly,
  );

  test(
    "an operator's drain and cordon are never undone by the scaler",
    async () => {
      await using fleet = await aFullFleet(4);
      const [name] = [...fleet.agents.keys()];
      await fleet.controller.call("POST", `/v1/nodes/${name}/drain`);
      await fleet.until("they moved", async () => {
        const { body } = await fleet.controller.call("GET", `/v1/nodes/${name}`);
        return body.processes === 0 && (await fleet.running()) === 4;
      });
      await fleet.scale(8);
      await fleet.until("all are running", async () => (await fleet.running()) === 8);
      await fleet.pass(60);
      const { body } = await fleet.controller.call("GET", `/v1/nodes/${name}`);
      assert.is(body.state, "draining");
      assert.ok((await fleet.cloudVms()).includes(String(name)));
    },
    slowly,
  );

  test(
    "an operator may delete an empty node, and its VM goes with it",
    async () => {
      await using fleet = await aFullFleet(4, { minNodes: 0, remove: { emptyAfter: "1h" } });
      const [name] = [...fleet.agents.keys()];
      const refused = await fleet.controller.call("DELETE", `/v1/vms/${name}`);
      assert.is(refused.body.code, "IN_USE");
      await fleet.scale(0);
      await fleet.until("it is empty", async () => (await fleet.running()) === 0);
      await fleet.pass(5);
      const { status } = await fleet.controller.call("DELETE", `/v1/vms/${name}`);
      assert.is(status, 202);
      await fleet.pass(3);
      assert.equal(await fleet.cloudVms(), []);
      assert.equal(await nodeStates(fleet), []);
    },
    slowly,
  );
});
