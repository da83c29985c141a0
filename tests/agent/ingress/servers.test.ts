import { Agent } from "node:http";

import { sendSignal } from "@strata/agent/host/process-table";
import type { NetworkState } from "@strata/agent/network-table/network-state";
import type { Endpoint, NetworkReport } from "@strata/protocol/agent/network";

import { assert, suite } from "../../support/suite.ts";
import { aRoute, aService, aState } from "../support/a-network.ts";
import { anIngress, aProcess, type Process, type TestIngress } from "./an-ingress.ts";
import { ask, get } from "./ask.ts";

const leaving = ({ endpoint }: Process): Endpoint => ({ ...endpoint, state: "leaving" });
const of = (revision: number, ...endpoints: Endpoint[]): NetworkState =>
  aState(revision, [aService({ endpoints })]);
const trafficOf = (report: NetworkReport, id: string) =>
  report.endpoints.find(({ processId }) => processId === id);

/** How many of so many requests each process answered. */
async function countAnswers(port: number, requests: number): Promise<Record<string, number>> {
  const counts: Record<string, number> = {};
  for (let index = 0; index < requests; index += 1) {
    const { body, status } = await get(port, "web.test");
    const key = status === 200 ? body : String(status);
    counts[key] = (counts[key] ?? 0) + 1;
  }
  return counts;
}

/** One that is gone is removed when nothing is left on it. */
async function untilServers(ingress: TestIngress, wanted: readonly string[]): Promise<void> {
  const servers = await ingress.haproxy.readServers();
  const names = [...(servers.get("r.web")?.keys() ?? [])];
  if (names.join(" ") === wanted.join(" ")) return;
  await ingress.untilReport(() => true);
  await untilServers(ingress, wanted);
}

suite("processes behind an ingress", (test) => {
  test("come and go without a reload, and one that leaves finishes what it has", async () => {
    const held = Promise.withResolvers<() => void>();
    await using first = await aProcess("web-1", (request, response) => {
      if (request.url === "/slow") held.resolve(() => response.end("slow web-1"));
      else response.end("web-1");
    });
    await using second = await aProcess("web-2");
    await using ingress = await anIngress(of(1, first.endpoint));
    const { master, current } = (await ingress.haproxy.readWorkers()) ?? {};
    await ingress.apply(of(2, first.endpoint, second.endpoint));
    assert.equal(await countAnswers(ingress.httpPort, 10), { "web-1": 5, "web-2": 5 });
    await ingress.apply(of(3, first.endpoint, leaving(second)));
    const slow = get(ingress.httpPort, "web.test", "/slow");
    slow.catch(() => undefined);
    const answer = await held.promise;

    const report = await ingress.apply(of(4, leaving(first), second.endpoint));
    assert.is(trafficOf(report, "web-1")?.inFlight, 1);
    assert.equal(await countAnswers(ingress.httpPort, 10), { "web-2": 10 });
    answer();
    assert.is((await slow).body, "slow web-1");
    const drained = await ingress.untilReport((next) => trafficOf(next, "web-1")?.inFlight === 0);
    assert.is(trafficOf(drained, "web-1")?.requests, 6);
    assert.is(trafficOf(drained, "web-2")?.requests, 15);
    assert.is(drained.services[0]?.requests, 21);

    await ingress.apply(of(5, second.endpoint));
    await untilServers(ingress, ["web-2"]);
    const after = await ingress.haproxy.readWorkers();
    assert.equal([after?.master, after?.current], [master, current]);
  });

  test("one that is dead costs no request while another is ready", async () => {
    await using first = await aProcess("web-1");
    await using second = await aProcess("web-2");
    await using ingress = await anIngress(of(1, first.endpoint, second.endpoint));
    first.kill();
    assert.equal(await countAnswers(ingress.httpPort, 20), { "web-2": 20 });
    const posted = await ask(ingress.httpPort, {
      method: "POST",
      headers: { host: "web.test" },
      body: "x",
    });
    assert.is(posted.body, "web-2");
  });

  test("only idempotent requests are tried again elsewhere once they were sent", async () => {
    await using first = await aProcess("web-1", (request) => void request.socket.destroy());
    await using second = await aProcess("web-2");
    await using ingress = await anIngress(of(1, first.endpoint, second.endpoint));
    assert.equal(await countAnswers(ingress.httpPort, 10), { "web-2": 10 });
    const posts = await Promise.all(
      Array.from({ length: 10 }, () =>
        ask(ingress.httpPort, { method: "POST", headers: { host: "web.test" }, body: "x" }),
      ),
    );
    const statuses = new Set(posts.map(({ status }) => status));
    assert.equal(statuses, new Set([200, 502]));
    const sent = first.requests.filter(({ method }) => method === "POST").length;
    assert.is(posts.filter(({ status }) => status === 502).length, sent);
  });

  test("come back to the process that answered first, also to one that came later", async () => {
    await using first = await aProcess("web-1");
    await using second = await aProcess("web-2");
    const routes = [aRoute({ sticky: true })];
    const state = (revision: number, ...endpoints: Endpoint[]): NetworkState =>
      aState(revision, [aService({ endpoints })], { routes });
    await using ingress = await anIngress(state(1, first.endpoint));
    await ingress.apply(state(2, first.endpoint, second.endpoint));
    const cookies = new Map<string, string>();
    while (cookies.size < 2) {
      const { body, headers } = await get(ingress.httpPort, "web.test");
      const cookie = headers["set-cookie"]?.[0] ?? "";
      assert.match(cookie, /^STRATA-[0-9a-f]{8}=[0-9a-f]+;.*HttpOnly/);
      cookies.set(body, cookie.split(";")[0] ?? "");
    }
    const askAs = async (cookie: string): Promise<string> =>
      (await ask(ingress.httpPort, { headers: { host: "web.test", cookie } })).body;
    for (const [name, cookie] of cookies) {
      for (let index = 0; index < 4; index += 1) assert.is(await askAs(cookie), name);
    }
    await ingress.apply(state(3, first.endpoint, leaving(second)));
    assert.is(await askAs(cookies.get("web-2") ?? ""), "web-1");
  });

  test("share requests as the weights of their services say, however many they are", async () => {
    await using first = await aProcess("web-1");
    await using second = await aProcess("web-2");
    await using canary = await aProcess("canary-1");
    const routes = [
      aRoute({
        backends: [
          { service: "service-1", port: "http", weight: 9 },
          { service: "canary", port: "http", weight: 1 },
        ],
      }),
    ];
    const state = (revision: number, ...canaries: Endpoint[]): NetworkState =>
      aState(
        revision,
        [
          aService({ endpoints: [first.endpoint, second.endpoint] }),
          aService({ id: "canary", alias: "canary", endpoints: canaries }),
        ],
        { routes },
      );
    await using ingress = await anIngress(state(1, canary.endpoint));
    const counts = await countAnswers(ingress.httpPort, 100);
    const canaries = counts["canary-1"] ?? 0;
    assert.ok(canaries >= 8 && canaries <= 12, `${canaries} of 100 went to the canary`);
    await ingress.apply(state(2));
    assert.equal(await countAnswers(ingress.httpPort, 10), { "web-1": 5, "web-2": 5 });
  });
});

suite("an ingress that changes or dies", (test) => {
  test("loses no request of connections that stay, while it is reloaded again and again", async () => {
    await using first = await aProcess("web-1");
    await using second = await aProcess("web-2");
    const state = (revision: number): NetworkState =>
      aState(revision, [aService({ endpoints: [first.endpoint, second.endpoint] })], {
        routes: [aRoute(), aRoute({ id: `new-${revision}`, hosts: [`new-${revision}.test`] })],
      });
    await using ingress = await anIngress(state(1));
    const over = new AbortController();
    const counts = { sent: 0, failed: 0 };
    const client = async (agent: Agent): Promise<void> => {
      while (!over.signal.aborted) {
        counts.sent += 1;
        const answered = await ask(ingress.httpPort, {
          agent,
          method: counts.sent % 2 === 0 ? "GET" : "POST",
          headers: { host: "web.test" },
        }).catch(() => undefined);
        if (answered?.status !== 200) counts.failed += 1;
      }
      agent.destroy();
    };
    const clients = Array.from({ length: 8 }, () =>
      client(new Agent({ keepAlive: true, maxSockets: 1 })),
    );
    for (let revision = 2; revision <= 5; revision += 1) {
      await ingress.apply(state(revision));
      assert.is((await get(ingress.httpPort, `new-${revision}.test`)).status, 200);
    }
    over.abort();
    await Promise.all(clients);
    console.log(`${counts.sent} requests over 4 reloads, ${counts.failed} failed`);
    assert.ok(counts.sent > 100);
    assert.is(counts.failed, 0);
  });

  test("is back after a kill of its worker or its master with the same state", async () => {
    await using web = await aProcess("web-1");
    await using ingress = await anIngress(of(1));
    await ingress.apply(of(2, web.endpoint));
    for (const which of ["current", "master"] as const) {
      const before = await ingress.haproxy.readWorkers();
      const beganMs = performance.now();
      sendSignal(before?.[which] ?? 0, 9);
      const untilOk = async (): Promise<void> => {
        const answered = await get(ingress.httpPort, "web.test").catch(() => undefined);
        const now = await ingress.haproxy.readWorkers().catch(() => undefined);
        const isNew = now?.master !== undefined && now.master !== before?.master;
        if (answered?.status !== 200 || !isNew) await untilOk();
      };
      await untilOk();
      console.log(`back ${Math.round(performance.now() - beganMs)} ms after a kill: ${which}`);
    }
    assert.equal(await countAnswers(ingress.httpPort, 5), { "web-1": 5 });
  });

  test("goes on while the agent is away, and is taken over and corrected by the next one", async () => {
    await using first = await aProcess("web-1");
    await using second = await aProcess("web-2");
    await using ingress = await anIngress(of(1, first.endpoint));
    const before = await ingress.haproxy.readWorkers();
    // What nobody has planned.
    await ingress.haproxy.command(["add server r.web/stray 127.0.0.1:1 weight 1"]);
    const corrected = ingress.untilReport(({ revision }) => revision === 7);
    await ingress.restart(of(7, second.endpoint));
    assert.is((await get(ingress.httpPort, "web.test")).status, 200);
    await corrected;
    assert.equal(await countAnswers(ingress.httpPort, 5), { "web-2": 5 });
    const after = await ingress.haproxy.readWorkers();
    assert.equal([after?.master, after?.current], [before?.master, before?.current]);
    await untilServers(ingress, ["web-2"]);
  });

  test("ends when this node is no ingress any more", async () => {
    await using web = await aProcess("web-1");
    await using ingress = await anIngress(of(1, web.endpoint));
    await ingress.restart({ ...of(2, web.endpoint), ingress: null });
    while ((await ingress.haproxy.find()) !== undefined) await ingress.haproxy.find();
    await get(ingress.httpPort, "web.test").then(
      () => assert.unreachable("somebody answers"),
      () => undefined,
    );
  });
});
