import { execFileSync } from "node:child_process";

import type { Assignment, ProcessReport } from "@strata/protocol/agent/messages";
import type { Service } from "@strata/protocol/agent/network";

import { assert, suite } from "../../support/suite.ts";
import { aNode, type TestNode } from "../support/a-node.ts";
import { anOwnEndpoint, aService, aView } from "../support/a-service.ts";
import { anAssignment } from "../support/an-assignment.ts";
import { askInside, type Target } from "../support/ask-inside.ts";
import { anOutsider, ask, inOwnNetwork } from "../support/own-network.ts";

const page = "echo $HOSTNAME > /var/www/index.html; exec httpd -f -p 8080 -h /var/www";

/** Answers with its name. */
function aServer(processId: string, tenant: string, subscription = processId): Assignment {
  const ports = [{ name: "http", containerPort: 8080, protocol: "tcp" as const }];
  return anAssignment(page, { processId, spec: { tenant, subscription, ports, stopGraceMs: 0 } });
}

/** Every server answers over IPv4 and may use its IPv6 address. */
async function started(
  node: TestNode,
  assignments: readonly Assignment[],
): Promise<ReadonlyMap<string, ProcessReport>> {
  node.assign(...assignments);
  const reports = new Map<string, ProcessReport>();
  for (const { processId } of assignments) {
    const report = await node.until(processId, ({ state }) => state === "running");
    for (const address of [report.address ?? "", report.address6 ?? ""]) {
      while ((await ask(address, 8080)) === "closed");
    }
    reports.set(processId, report);
  }
  return reports;
}

function serve(report: ProcessReport | undefined, wishes: Partial<Service>): Service {
  const ports = [{ name: "http", containerPort: 8080, protocol: "tcp" as const }];
  return aService({ ports, endpoints: [anOwnEndpoint(report)], ...wishes });
}

/** Every way to a process on its own node. */
function waysTo(
  node: TestNode,
  report: ProcessReport | undefined,
  virtual: string,
): readonly Target[] {
  const gateway = node.runtime().services.network.place(0).gateway;
  return [
    [report?.address ?? "", 8080],
    [report?.address6 ?? "", 8080],
    [gateway, report?.ports[0]?.hostPort ?? 0],
    [virtual, 8080],
  ];
}

const refused = ["refused", "refused", "refused", "refused"];
const answered = (name: string): readonly string[] => [name, name, name, name];

inOwnNetwork(import.meta.url, () => {
  suite("processes of one node", (test) => {
    test("reach those of their tenant, by every way, and none of another tenant", async () => {
      await using node = await aNode();
      const all = [aServer("web", "blue"), aServer("db", "blue"), aServer("spy", "red")];
      const reports = await started(node, all);
      const db = reports.get("db");
      // Nothing is known of who may do what.
      const ways = waysTo(node, db, "198.18.0.2");
      assert.equal(await askInside(reports.get("web")?.pid, ways), refused);
      await node.learn(aView([serve(db, { tenant: "blue", alias: "db", address: "198.18.0.2" })]));
      assert.equal(await askInside(reports.get("web")?.pid, ways), answered("db"));
      assert.equal(await askInside(reports.get("spy")?.pid, ways), refused);
    });

    test("are reached as their subscription allows: by some of its tenant, or by everyone", async () => {
      await using node = await aNode();
      const all = [aServer("web", "blue"), aServer("cron", "blue"), aServer("spy", "red")];
      const reports = await started(node, [...all, aServer("db", "blue")]);
      const db = reports.get("db");
      const about = { tenant: "blue", alias: "db", address: "198.18.0.2" };
      const ways = waysTo(node, db, about.address);
      const askAll = (): Promise<readonly (readonly string[])[]> =>
        Promise.all(["web", "cron", "spy"].map((id) => askInside(reports.get(id)?.pid, ways)));
      await node.learn(
        aView([serve(db, { ...about, access: { kind: "aliases", aliases: ["web"] } })]),
      );
      assert.equal(await askAll(), [answered("db"), refused, refused]);
      await node.learn(aView([serve(db, { ...about, access: { kind: "everyone" } })]));
      assert.equal(await askAll(), [answered("db"), answered("db"), answered("db")]);
      // Another life of the agent knows the same from the start.
      await node.restart();
      assert.equal(await askAll(), [answered("db"), answered("db"), answered("db")]);
      await node.learn(aView([]));
      assert.equal(await askAll(), [refused, refused, refused]);
    });

    test("are told at once when nobody is ready, and reach every one that is", async () => {
      await using node = await aNode();
      const all = [
        aServer("web", "blue"),
        aServer("db-1", "blue", "db"),
        aServer("db-2", "blue", "db"),
      ];
      const reports = await started(node, all);
      const endpoints = ["db-1", "db-2"].map((id) => anOwnEndpoint(reports.get(id)));
      const db = serve(undefined, {
        tenant: "blue",
        alias: "db",
        address: "198.18.0.2",
        endpoints,
      });
      const away = endpoints.map((endpoint) => ({ ...endpoint, state: "leaving" as const }));
      await node.learn(aView([{ ...db, endpoints: away }]));
      const pid = reports.get("web")?.pid;
      assert.equal(await askInside(pid, [["198.18.0.2", 8080]]), ["refused"]);
      assert.equal(await askInside(pid, [["198.18.0.2", 8081]]), ["refused"]);
      await node.learn(aView([db]));
      const many = Array.from({ length: 8 }, (): Target => ["198.18.0.2", 8080]);
      const answers = new Set<string>();
      while (answers.size < 2) for (const name of await askInside(pid, many)) answers.add(name);
      assert.equal([...answers].toSorted(), ["db-1", "db-2"]);
      await node.learn(aView([{ ...db, endpoints: endpoints.slice(1) }]));
      assert.equal([...new Set(await askInside(pid, many))], ["db-2"]);
    });

    test("do not reach each other beside the rules, even if they could send what they want", async () => {
      await using node = await aNode();
      const reports = await started(node, [aServer("spy", "red"), aServer("db", "blue")]);
      const [spy, db] = [reports.get("spy"), reports.get("db")];
      const inside = (pid: number | undefined, line: string): string =>
        execFileSync("nsenter", ["-t", String(pid), "--net", "sh", "-ec", line], {
          encoding: "utf8",
        });
      const mac = inside(db?.pid, "ip link show dev eth0");
      const [, own = ""] = /link\/ether (\S+)/.exec(mac) ?? [];
      // As neighbours, who need nobody between them.
      inside(
        spy?.pid,
        `ip route add ${db?.address}/32 dev eth0; ip neigh replace ${db?.address} lladdr ${own} dev eth0
         ip -6 route add ${db?.address6}/128 dev eth0; ip -6 neigh replace ${db?.address6} lladdr ${own} dev eth0`,
      );
      const [address = "", address6 = ""] = [db?.address, db?.address6];
      const direct: readonly Target[] = [
        [address, 8080],
        [address6, 8080],
      ];
      assert.equal(await askInside(spy?.pid, direct), ["ETIMEDOUT", "ETIMEDOUT"]);
      // Under the address of one that may.
      const view = aView([serve(db, { tenant: "blue", alias: "db", address: "198.18.0.2" })]);
      await node.learn(view);
      inside(
        spy?.pid,
        `ip route del ${address}/32 dev eth0; ip address add ${address}/32 dev eth0
        ip route replace default via ${node.runtime().services.network.place(0).gateway} src ${address}`,
      );
      assert.equal(await askInside(spy?.pid, [["198.18.0.2", 8080]]), ["ETIMEDOUT"]);
    });

    test("reach the published ports of other nodes only where they may, and the world as ever", async () => {
      await using outsider = await anOutsider();
      await outsider.serve(23_100);
      await outsider.serve(9000);
      await outsider.serve(7777);
      await using node = await aNode();
      const reports = await started(node, [aServer("web", "blue"), aServer("spy", "red")]);
      const endpoint = (processId: string, hostPort: number): Service["endpoints"][number] =>
        anOwnEndpoint(undefined, {
          processId,
          nodeId: "node-away",
          address: outsider.address,
          containerAddress: "10.77.0.2",
          ports: { http: hostPort },
        });
      const away = serve(undefined, {
        tenant: "blue",
        alias: "db",
        address: "198.18.0.2",
        endpoints: [endpoint("db-1", 23_100), endpoint("db-2", 9000)],
      });
      const nodes = [{ id: "node-away", address: outsider.address }];
      await node.learn(aView([away], { nodes }));
      const ways: readonly Target[] = [
        [outsider.address, 23_100],
        [outsider.address, 9000],
        ["198.18.0.2", 8080],
        [outsider.address, 7777],
      ];
      // Which says who asks.
      const own = `::ffff:${outsider.ownAddress}`;
      assert.equal(await askInside(reports.get("web")?.pid, ways), answered(own));
      assert.equal(await askInside(reports.get("spy")?.pid, ways), [...refused.slice(1), own]);
      // A port that nothing was told of yet is nobody's.
      await node.learn(aView([], { nodes }));
      const [told] = await askInside(reports.get("web")?.pid, ways);
      assert.is(told, "refused");
    });

    test("reach the ingress of their node where it is one", async () => {
      await using outsider = await anOutsider();
      await using node = await aNode();
      const reports = await started(node, [aServer("web", "blue")]);
      const { default: http } = await import("node:http");
      const server = http.createServer((_, response) => response.end("ingress"));
      await new Promise<void>((resolve) => server.listen(8080, "0.0.0.0", resolve));
      await using _server = { [Symbol.asyncDispose]: () => Promise.resolve(void server.close()) };
      const pid = reports.get("web")?.pid;
      const at: readonly Target[] = [[outsider.ownAddress, 8080]];
      assert.equal(await askInside(pid, at), ["ETIMEDOUT"]);
      await node.learn(aView([], { ingressPorts: [8080] }));
      assert.equal(await askInside(pid, at), ["ingress"]);
    });
  });
});
