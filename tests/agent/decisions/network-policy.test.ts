import type { NftObjects } from "@strata/agent/network/nft-objects";
import { renderChange } from "@strata/agent/network/nft-objects";
import { createPlanner, type PolicyInput } from "@strata/agent/network/policy";
import { parseSubnet } from "@strata/agent/network/subnet";
import { parseSubnet6 } from "@strata/agent/network/subnet6";
import type { LocalContainer } from "@strata/agent/network/view";
import type { Service } from "@strata/protocol/agent/network";
import fc from "fast-check";

import { assert, suite } from "../../support/suite.ts";
import { anEndpoint, aService } from "../support/a-network.ts";

const subnet = parseSubnet("10.99.0.0/24");
const network = {
  bridge: "strata",
  subnet,
  subnet6: parseSubnet6("fd00:99::/64", subnet),
  hostPorts: { first: 20_000, last: 29_999 },
};
const newPlanner = (): ReturnType<typeof createPlanner> => createPlanner(network);

const tenants = ["blue", "red"];
const aliases = ["api", "db", "web"];
const allServices: readonly Service[] = tenants.flatMap((tenant, row) =>
  aliases.flatMap((alias, column) => {
    const number = 10 * row + column + 1;
    const endpoints = [
      anEndpoint({ processId: `${tenant}-${alias}-1`, containerAddress: `10.99.0.${number + 1}` }),
      anEndpoint({ processId: `${tenant}-${alias}-2`, nodeId: "node-2", address: "192.0.2.7" }),
    ];
    const common = { id: `${tenant}-${alias}`, tenant, alias, address: `198.18.0.${number}` };
    return [
      aService({ ...common, endpoints }),
      aService({ ...common, endpoints: endpoints.slice(1), access: { kind: "everyone" } }),
      aService({ ...common, endpoints, access: { kind: "aliases", aliases: ["web"] } }),
    ];
  }),
);

const container = (tenant: string, alias: string, slot: number): LocalContainer => ({
  slot,
  tenant,
  alias,
  ports: [{ name: "http", protocol: "tcp", hostPort: 20_000 + slot, containerPort: 80 }],
});

const inputs: fc.Arbitrary<PolicyInput> = fc
  .record({
    services: fc.subarray([...allServices]),
    places: fc.uniqueArray(fc.integer({ min: 0, max: 17 }), { maxLength: 6 }),
    resolverPort: fc.constantFrom(undefined, 5353),
  })
  .map(({ services, places, resolverPort }) => ({
    resolverPort,
    view: {
      nodeId: "node-1",
      services: new Map(services.map((service) => [service.id, service])),
      nodes: [{ id: "node-2", address: "192.0.2.7" }],
      ingressPorts: [8080],
    },
    containers: places.map((place) =>
      container(tenants[place % 2] ?? "", aliases[place % 3] ?? "", place),
    ),
  }));

const input = (containers: readonly LocalContainer[]): PolicyInput => ({
  view: {
    nodeId: "node-1",
    services: new Map(
      allServices.filter((_, index) => index % 3 === 0).map((one) => [one.id, one]),
    ),
    nodes: [],
    ingressPorts: [],
  },
  containers,
  resolverPort: undefined,
});

function changedSets(before: NftObjects, after: NftObjects): readonly string[] {
  return [...after.sets].flatMap(([name, { elements }]) =>
    before.sets.get(name)?.elements === elements ? [] : [name],
  );
}

suite("the plan of a node's rules", (test) => {
  test("is the same whatever was planned before", () => {
    fc.assert(
      fc.property(fc.array(inputs, { minLength: 1, maxLength: 6 }), (steps) => {
        const plan = newPlanner();
        for (const step of steps) assert.equal(plan(step), newPlanner()(step));
      }),
      { numRuns: 50 },
    );
  });

  test("plans nothing anew for one more container but the containers' own sets", () => {
    const plan = newPlanner();
    const first = container("blue", "web", 1);
    const { view, ...rest } = input([first]);
    const before = plan({ ...rest, view });
    const after = plan({ ...rest, view, containers: [first, container("blue", "web", 2)] });
    const own = ["ports", "ports6", "sources", "sources6"].map((name) => `inet ${name}`);
    assert.equal(
      changedSets(before, after).filter((name) => name !== "inet resolver"),
      [...own, "bridge own", "bridge own6"],
    );
    const change = renderChange("strata", before, after);
    assert.match(
      change,
      /add element inet strata sources \{ 10\.99\.0\.\d+ : goto from\.blue\.web \}/,
    );
    assert.not.match(change, /delete|flush|chain/);
  });
});
