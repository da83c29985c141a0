import { execFileSync } from "node:child_process";
import { readFileSync } from "node:fs";
import process from "node:process";
import { setTimeout as delay } from "node:timers/promises";

import { agentPaths, processPaths } from "@strata/agent/paths";
import type { Service } from "@strata/protocol/agent/network";

import { assert, suite } from "../../support/suite.ts";
import { aNode, type TestNode } from "../support/a-node.ts";
import { anOwnEndpoint, aService, aView } from "../support/a-service.ts";
import { anAssignment } from "../support/an-assignment.ts";
import { type Question, resolveInside } from "../support/ask-inside.ts";
import { inOwnNetwork } from "../support/own-network.ts";

const ports = [{ name: "http", containerPort: 8080, protocol: "tcp" as const }];

function aDatabase(wishes: Partial<Service> = {}): Service {
  const own = anOwnEndpoint(undefined, { processId: "db-1" });
  return aService({
    tenant: "blue",
    alias: "db",
    address: "198.18.0.2",
    ports,
    endpoints: [own],
    ...wishes,
  });
}

/** Asks until the answers are these: a new name takes as long as another dnsmasq needs. */
async function until(
  node: TestNode,
  questions: readonly Question[],
  wanted: readonly string[],
): Promise<void> {
  const { pid } = node.report("web") ?? {};
  const { gateway } = node.runtime().services.network.place(0);
  let answers = await resolveInside(pid, gateway, questions);
  while (answers.join() !== wanted.join()) {
    await delay(100);
    answers = await resolveInside(pid, gateway, questions);
  }
}

async function aNodeWithNames(): Promise<TestNode> {
  await using undo = new AsyncDisposableStack();
  const node = undo.use(await aNode());
  await node.learn(aView([]));
  const spec = { tenant: "blue", subscription: "web", stopGraceMs: 0 };
  node.assign(anAssignment("exec sleep 600", { processId: "web", spec }));
  await node.until("web", ({ state }) => state === "running");
  undo.move();
  return node;
}

function pidOfServer(node: TestNode): number {
  const text = readFileSync(`${agentPaths(node.config).names}/started.json`, "utf8");
  const pids = [...text.matchAll(/"pid":(\d+)/g)].map(([, pid]) => Number(pid));
  return pids.at(-1) ?? 0;
}

inOwnNetwork(import.meta.url, () => {
  suite("names on a node", (test) => {
    test("lead to subscriptions, and to their processes with ports", async () => {
      await using node = await aNodeWithNames();
      const container = node.runtime().services.network.place(7).address;
      const own = anOwnEndpoint(undefined, { processId: "db-1", containerAddress: container });
      const away = anOwnEndpoint(undefined, {
        processId: "db-2",
        nodeId: "node-away",
        address: "192.0.2.9",
        ports: { http: 23_100 },
      });
      const leaving = anOwnEndpoint(undefined, {
        processId: "db-3",
        containerAddress: node.runtime().services.network.place(8).address,
        state: "leaving",
      });
      const other = aDatabase({ id: "other", tenant: "red", address: "198.18.0.3" });
      await node.learn(aView([aDatabase({ endpoints: [own, away, leaving] }), other]));
      const name = "db.blue.strata.internal";
      await until(
        node,
        [
          ["A", name],
          ["SRV", `_http._tcp.${name}`],
          ["A", `db-1.${name}`],
          ["A", `db-2.${name}`],
          ["A", "nobody.blue.strata.internal"],
          ["SRV", "_http._tcp.db.red.strata.internal"],
        ],
        [
          "198.18.0.2",
          `db-1.${name}:8080 db-2.${name}:23100`,
          container,
          "192.0.2.9",
          "ENOTFOUND",
          "ENOTFOUND",
        ],
      );
    });

    test("are what a process's resolv.conf asks for, short inside a tenant", async () => {
      await using node = await aNodeWithNames();
      const { run } = processPaths(agentPaths(node.config), "web");
      const { gateway } = node.runtime().services.network.place(0);
      const text = readFileSync(`${run}/resolv.conf`, "utf8");
      assert.match(text, new RegExp(`^nameserver ${gateway}\nsearch blue\\.strata\\.internal`));
    });

    test("come back at once when dnsmasq is killed", async () => {
      await using node = await aNodeWithNames();
      await node.learn(aView([aDatabase()]));
      const question: Question = ["A", "db.blue.strata.internal"];
      await until(node, [question], ["198.18.0.2"]);
      const pid = pidOfServer(node);
      process.kill(pid, "SIGKILL");
      await until(node, [question], ["198.18.0.2"]);
      assert.is.not(pidOfServer(node), pid);
    });

    test("go on while the agent is away, and are the same in its next life", async () => {
      await using node = await aNodeWithNames();
      await node.learn(aView([aDatabase()]));
      const question: Question = ["A", "db.blue.strata.internal"];
      await until(node, [question], ["198.18.0.2"]);
      const pid = pidOfServer(node);
      const { gateway } = node.runtime().services.network.place(0);
      const { pid: inside } = node.report("web") ?? {};
      await node.restart();
      assert.equal(await resolveInside(inside, gateway, [question]), ["198.18.0.2"]);
      assert.is(pidOfServer(node), pid);
    });

    test("end with the node", async () => {
      const node = await aNodeWithNames();
      await node.learn(aView([aDatabase()]));
      await until(node, [["A", "db.blue.strata.internal"]], ["198.18.0.2"]);
      await node[Symbol.asyncDispose]();
      const all = execFileSync("ps", ["-eo", "args"], { encoding: "utf8" });
      assert.not.match(all, new RegExp(node.config.runDirectory));
    });
  });
});
