/** Level 2 at work: nodes for subscriptions that do not run just anywhere. */
import { aFleet, type Fleet, quarter } from "../../support/fleet.ts";
import { assert, suite } from "../../support/suite.ts";

/** Many seconds of the clock, on a machine that may be busy. */
const slowly = { timeoutMs: 120_000 };
const lines = {
  providers: [
    { provider: "cloud", flavor: "small", zone: "east" },
    { provider: "cloud", flavor: "small", zone: "west", labels: { disk: "ssd" } },
  ],
};

async function place(fleet: Fleet, processes: number, placement: object): Promise<void> {
  const body = { cartridge: "hello", processes, resources: quarter, placement };
  const answer = await fleet.controller.call("PUT", "/v1/subscriptions/hi", { body });
  assert.is(answer.status, 200, JSON.stringify(answer.body));
}

suite("rented nodes and the placement of subscriptions", (test) => {
  test(
    "rents nodes of the line that has the labels, and they join with them",
    async () => {
      await using fleet = await aFleet({ policy: lines });
      await place(fleet, 2, { labels: { disk: "ssd" } });
      await fleet.until("both are running", async () => (await fleet.running()) === 2);
      const { body } = await fleet.controller.call("GET", "/v1/nodes");
      assert.equal(
        body.items.map(({ labels }: { labels: object }) => labels),
        [{ disk: "ssd" }],
      );
    },
    slowly,
  );

  test(
    "rents nothing for labels that no line has, says so, and rents when the wish changes",
    async () => {
      await using fleet = await aFleet({ policy: lines });
      await place(fleet, 2, { labels: { disk: "tape" } });
      await fleet.pass(90);
      assert.equal(fleet.requests, []);
      assert.match(
        (await fleet.reasons())[0] ?? "",
        /no offer makes nodes that the placement of hi allows/,
      );
      await place(fleet, 2, { zones: ["east"] });
      await fleet.until("both are running", async () => (await fleet.running()) === 2);
      assert.equal((await fleet.vms()).length, 1);
    },
    slowly,
  );

  test(
    "rents in vain but once to learn of which architecture the nodes are",
    async () => {
      await using fleet = await aFleet({
        policy: { ...lines, remove: { emptyAfter: "1s", afterAdd: "1s" } },
      });
      await place(fleet, 1, { architecture: "arm64", zones: ["east"] });
      await fleet.until("it is known", async () =>
        ((await fleet.reasons())[0] ?? "").includes("no offer makes nodes"),
      );
      const before = fleet.requests.length;
      assert.is(before, 1);
      await fleet.pass(150);
      assert.is(fleet.requests.length, before);
      assert.equal(await fleet.vms(), []);
    },
    slowly,
  );
});
