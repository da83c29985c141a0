import { execFileSync } from "node:child_process";
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";

import { HAPROXY } from "@strata/agent/ingress/haproxy";
import { ingressPaths } from "@strata/agent/ingress/ingress-paths";
import { parseIngressSettings } from "@strata/agent/ingress/ingress-settings";
import { type ActualServer, planChanges, toActual } from "@strata/agent/ingress/plan-changes";
import {
  type IngressPlan,
  planIngress,
  type RoutePlan,
  type ServerPlan,
} from "@strata/agent/ingress/plan-ingress";
import { renderConfig } from "@strata/agent/ingress/render-config";
import { shareWeights } from "@strata/agent/ingress/share-weights";
import type { NetworkState } from "@strata/agent/network-table/network-state";
import type { IngressRoute } from "@strata/protocol/agent/network";
import fc from "fast-check";

import { assert, suite, throwsWithCode } from "../../support/suite.ts";
import { aTemporaryDirectory } from "../../support/temporary.ts";
import { anEndpoint, aRoute, aService, aState } from "../support/a-network.ts";

const settings = parseIngressSettings({});
const plan = (state: NetworkState): IngressPlan =>
  planIngress(state, { nodeId: "node-1", ownPorts: [8080, 8443], isUsable: () => false });
const serversOf = ({ routes }: IngressPlan): ReadonlyMap<string, ServerPlan> | undefined =>
  routes[0]?.servers;

suite("planIngress", (test) => {
  test("reaches processes of its own node in their containers, others by their published ports", () => {
    const here = anEndpoint({ containerAddress: "10.77.0.2" });
    const there = anEndpoint({ processId: "web-2", nodeId: "node-2", address: "192.0.2.2" });
    const servers = serversOf(plan(aState(1, [aService({ endpoints: [here, there] })])));
    assert.is(servers?.get("web-1")?.address, "10.77.0.2");
    assert.is(servers?.get("web-1")?.port, 80);
    assert.is(servers?.get("web-2")?.address, "192.0.2.2");
    assert.is(servers?.get("web-2")?.port, 20_000);
  });

  test("gives a host and path, a port and an id to the first route that wants it", () => {
    const routes = [
      aRoute({ id: "a" }),
      aRoute({ id: "b", path: "/", hosts: ["web.test", "other.test"] }),
      aRoute({ id: "a", hosts: ["third.test"] }),
      aRoute({ id: "t", tcpPort: 5432 }),
      aRoute({ id: "u", tcpPort: 5432 }),
      aRoute({ id: "v", tcpPort: 8080 }),
    ];
    const { routes: planned, problems } = plan(aState(1, [aService()], { routes }));
    assert.equal(
      planned.map(({ route }) => [route.id, route.hosts]),
      [
        ["a", ["web.test"]],
        ["b", ["other.test"]],
        ["t", []],
      ],
    );
    assert.is(problems.length, 4);
  });

  test("takes only endpoints that are ready as such, and none without an address", () => {
    const endpoints = [
      anEndpoint({ state: "frozen" }),
      anEndpoint({ processId: "web-2", state: "leaving" }),
      anEndpoint({ processId: "web-3", containerAddress: "not an address" }),
      anEndpoint({ processId: "web-4" }),
    ];
    const { routes, problems } = plan(aState(1, [aService({ endpoints })]));
    const taking = [...(routes[0]?.servers ?? [])].filter(([, { takesNew }]) => takesNew);
    assert.equal(
      taking.map(([id]) => id),
      ["web-4"],
    );
    assert.is(problems.length, 1);
  });

  test("lets no text of a tenant be more than a value, whatever it is", async () => {
    await using folder = aTemporaryDirectory();
    const paths = ingressPaths(join(folder.path, "i"), folder.path);
    mkdirSync(paths.root, { recursive: true });
    const evil = fc.oneof(
      fc.string({ unit: "binary", maxLength: 30 }),
      fc.constantFrom("a\n  bind :1", 'x" } #', "a b", "%[src]", "*.a.b", "a.b", "${HOME}", "a'b"),
      fc.stringMatching(/^[a-z*./%'"#\\${}-]{1,20}$/),
    );
    const route = fc.record({
      id: evil,
      hosts: fc.array(evil, { maxLength: 3 }),
      path: evil.map((text) => `/${text}`),
      sticky: fc.boolean(),
      tcpPort: fc.option(fc.integer({ min: 1024, max: 60_000 }), { nil: undefined }),
    });
    const endpoint = fc.record({ processId: evil, containerAddress: evil });
    fc.assert(
      fc.property(
        fc.array(route, { minLength: 1, maxLength: 6 }),
        fc.array(endpoint, { maxLength: 3 }),
        fc.record({ token: evil, answer: evil }),
        (wished, endpoints, challenge) => {
          const routes = wished.map(({ tcpPort, ...part }): IngressRoute =>
            aRoute({ ...part, ...(tcpPort !== undefined && { tcpPort }) }),
          );
          const service = aService({
            wakes: true,
            endpoints: [anEndpoint({ processId: "safe" }), ...endpoints.map(anEndpoint)],
          });
          const state = aState(1, [service], { routes, challenges: [challenge] });
          const { files } = renderConfig(plan(state), { settings, paths, bind: ["127.0.0.1"] });
          for (const [path, text] of files) writeFileSync(path, text);
          // It says what is wrong, and ends with 1, for anything that it does not understand.
          execFileSync(HAPROXY, ["-c", "-f", paths.config], { stdio: "pipe" });
        },
      ),
      { numRuns: 12 },
    );
  });
});

suite("planChanges", (test) => {
  const server = fc.record({
    service: fc.constant("service-1"),
    address: fc.constantFrom("10.0.0.1", "10.0.0.2"),
    port: fc.constantFrom(80, 81),
    weight: fc.constantFrom(1, 128, 256),
    takesNew: fc.boolean(),
  });
  const servers = fc
    .dictionary(fc.constantFrom("a", "b", "c", "d"), server)
    .map((entries) => new Map(Object.entries(entries)));

  test("comes to what is planned from whatever there is, and then rests", () => {
    fc.assert(
      fc.property(servers, servers, (before, wanted) => {
        const planned: RoutePlan = { route: aRoute(), wakes: false, servers: wanted };
        const actual = new Map([...before].map(([name, one]) => [name, toActual(one)]));
        const changes = planChanges(new Map([["r.web", actual]]), [planned]);
        for (const change of changes) {
          if (change.server === undefined) actual.delete(change.name);
          else actual.set(change.name, change.server);
        }
        // One that was never there and takes nothing is not needed.
        const needed = [...wanted].filter(([name, one]) => one.takesNew || before.has(name));
        const expected = needed.map(([name, one]): [string, ActualServer] => [name, toActual(one)]);
        assert.equal(Object.fromEntries(actual), Object.fromEntries(expected));
        assert.equal(planChanges(new Map([["r.web", actual]]), [planned]), []);
      }),
    );
  });

  test("lets the new ones come before the old ones go, and removes none that may still be asked", () => {
    fc.assert(
      fc.property(servers, servers, (before, wanted) => {
        const planned: RoutePlan = { route: aRoute(), wakes: false, servers: wanted };
        const actual = new Map([...before].map(([name, one]) => [name, toActual(one)]));
        const changes = planChanges(new Map([["r.web", actual]]), [planned]);
        const kinds = changes.map(({ kind }) => kind);
        const adds = kinds.filter((kind) => kind === "add").length;
        assert.ok(kinds.slice(0, adds).every((kind) => kind === "add"));
        for (const [index, { kind, name }] of changes.entries()) {
          if (kind !== "remove") continue;
          const rests = changes
            .slice(0, index)
            .some((other) => other.name === name && other.server?.takesNew === false);
          assert.ok(rests || before.get(name)?.takesNew === false);
        }
      }),
    );
  });

  test("has nothing to say of backends that are not loaded", () => {
    const [planned] = plan(aState(1, [aService()])).routes;
    assert.equal(planChanges(new Map(), planned === undefined ? [] : [planned]), []);
  });
});

suite("shareWeights", (test) => {
  test("gives each service its share, however many processes it has", () => {
    assert.equal(shareWeights([{ weight: 5, ready: 3 }]), [1]);
    const [many = 0, few = 0] = shareWeights([
      { weight: 90, ready: 9 },
      { weight: 10, ready: 1 },
    ]);
    assert.is(many, few);
    const [half = 0, other = 0] = shareWeights([
      { weight: 1, ready: 1 },
      { weight: 1, ready: 4 },
    ]);
    assert.is(half, other * 4);
    assert.equal(
      shareWeights([
        { weight: 1, ready: 1 },
        { weight: 0, ready: 1 },
      ]),
      [256, 0],
    );
  });
});

suite("settings of an ingress", (test) => {
  test("are addresses, networks and ports of their own", () => {
    const { bind, proxyFrom } = parseIngressSettings({
      STRATA_INGRESS_BIND: "192.0.2.1, ::1",
      STRATA_INGRESS_PROXY_FROM: "10.0.0.0/8,fd00::/8",
    });
    assert.equal(
      [bind, proxyFrom],
      [
        ["192.0.2.1", "::1"],
        ["10.0.0.0/8", "fd00::/8"],
      ],
    );
    for (const environment of [
      { STRATA_INGRESS_BIND: "example.com" },
      { STRATA_INGRESS_BIND: "fe80::1%eth0" },
      { STRATA_INGRESS_PROXY_FROM: "10.0.0.0/33" },
      { STRATA_INGRESS_PROXY_FROM: "10.0.0.0/8 }" },
      { STRATA_INGRESS_HTTPS: "8080" },
      { STRATA_INGRESS_HTTP: "0" },
    ]) {
      throwsWithCode(() => parseIngressSettings(environment), "CONFIG_INVALID");
    }
  });
});
