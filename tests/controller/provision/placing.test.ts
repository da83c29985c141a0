/** Level 2 at work: where processes go, and move, on the nodes that it makes. */
import { aFleet, type Fleet } from "../../support/fleet.ts";
import { assert, suite } from "../../support/suite.ts";

/** Many seconds of the clock, on a machine that may be busy. */
const slowly = { timeoutMs: 120_000 };

async function perNode(fleet: Fleet): Promise<readonly number[]> {
  const { body } = await fleet.controller.call("GET", "/v1/nodes");
  return body.items
    .map(({ processes }: { processes: number }) => processes)
    .toSorted((a: number, b: number) => a - b);
}

suite("processes on rented nodes", (test) => {
  test(
    "exclusive rents one node for each process and puts it there",
    async () => {
      await using fleet = await aFleet({ policy: { packing: { exclusive: true } } });
      await fleet.scale(3);
      await fleet.until("all are running", async () => (await fleet.running()) === 3);
      assert.equal(await perNode(fleet), [1, 1, 1]);
    },
    slowly,
  );

  test(
    "a node that joins takes some of those that want to be apart, started before stopped",
    async () => {
      await using fleet = await aFleet({ policy: { packing: { apart: { nodes: "prefer" } } } });
      await fleet.scale(4);
      await fleet.until("all are running", async () => (await fleet.running()) === 4);
      assert.equal(await perNode(fleet), [4]);
      let least = 4;
      const { body: before } = await fleet.controller.call("GET", "/v1/partition-policies/elastic");
      const { name: _n, revision: _r, createdAt: _c, updatedAt: _u, ...input } = before;
      await fleet.controller.call("PUT", "/v1/partition-policies/elastic", {
        body: { ...input, minNodes: 2 },
      });
      await fleet.until("two have moved", async () => {
        least = Math.min(least, await fleet.running());
        const counts = await perNode(fleet);
        return counts.length === 2 && counts[0] === 2 && counts[1] === 2;
      });
      assert.is(least, 4);
    },
    slowly,
  );
});
