import { execFileSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { createServer } from "node:http";
import { setTimeout as delay } from "node:timers/promises";

import { gatewayAddress6 } from "@strata/agent/network/subnet6";
import type { ProcessSpec } from "@strata/protocol/agent/messages";

import { assert, suite } from "../../support/suite.ts";
import { aNode, type TestNode } from "../support/a-node.ts";
import { anOwnEndpoint, aService, aView } from "../support/a-service.ts";
import { anAssignment } from "../support/an-assignment.ts";
import { anOutsider, ask, askLine, inOwnNetwork } from "../support/own-network.ts";

/** Answers with its name. */
const server: Partial<ProcessSpec> = {
  command: ["sh", "-c", "echo $HOSTNAME > /var/www/index.html; exec httpd -f -p 8080 -h /var/www"],
  ports: [{ name: "tcp", containerPort: 8080, protocol: "tcp" }],
  stopGraceMs: 0,
};

const LOOK_MS = 50;

async function untilAnswered(address: string): Promise<void> {
  while ((await ask(address, 8080)) === "closed") await delay(LOOK_MS);
}

/** The address of a process and its port on the node, once it answers over IPv6: the kernel holds the address back
 * until it knows that nobody else has it. */
async function whereIs(node: TestNode): Promise<{ at: string; on: number }> {
  const { address6 = "", ports } = await node.until("web-1", ({ state }) => state === "running");
  await untilAnswered(address6);
  return { at: address6, on: ports[0]?.hostPort ?? 0 };
}

/** What a script writes in a container that may use its IPv6 address already. */
async function outputOf(node: TestNode, script: string): Promise<readonly string[]> {
  const wait = "while ip address show eth0 | grep -q tentative; do sleep 0.1; done";
  node.assign(
    anAssignment("", { spec: server }),
    anAssignment(`${wait}; ${script}; echo end; sleep 600`, {
      processId: "ask-1",
      spec: { stopGraceMs: 0 },
    }),
  );
  const running = await node.until("ask-1", ({ state }) => state === "running");
  assert.ok(running.address6 !== undefined);
  while (!node.log("ask-1").endsWith("end\n"))
    await new Promise((resolve) => setImmediate(resolve));
  return node.log("ask-1").trim().split("\n").slice(0, -1);
}

inOwnNetwork(import.meta.url, () => {
  suite("IPv6 of a node", (test) => {
    test("gives each process an address, in its report and its hosts file", async () => {
      await using node = await aNode();
      const [address6 = "", ...names] = await outputOf(
        node,
        "ip address show eth0 | grep -o 'fd73[^/]*'; grep ask-1 /etc/hosts",
      );
      assert.is(node.report("ask-1")?.address6, address6);
      assert.equal(names, [`${node.report("ask-1")?.address} ask-1`, `${address6} ask-1`]);
    });

    test("publishes ports on the node's addresses, for the world and for the node itself", async () => {
      await using outsider = await anOutsider();
      await using node = await aNode();
      node.assign(anAssignment("", { spec: server }));
      const { on } = await whereIs(node);
      const { ownAddress6, ownAddress } = outsider;
      assert.is(outsider.shell(askLine(ownAddress6, on)), "web-1\n");
      assert.is(outsider.shell(askLine(ownAddress, on)), "web-1\n");
      assert.is(await ask(ownAddress6, on), "web-1");
    });

    test("shows the world nothing of a container but its published ports", async () => {
      await using outsider = await anOutsider();
      await using node = await aNode();
      node.assign(anAssignment("", { spec: server }));
      const { at } = await whereIs(node);
      for (const address of [at, node.report("web-1")?.address ?? ""]) {
        assert.is(outsider.shell(askLine(address, 8080)), "closed\n");
      }
    });

    test("lets containers reach each other and the world, but no program of the node", async () => {
      await using outsider = await anOutsider();
      await outsider.serve(7000);
      await using node = await aNode();
      node.assign(anAssignment("", { spec: server }));
      const { at, on } = await whereIs(node);
      await node.learn(aView([aService({ endpoints: [anOwnEndpoint(node.report("web-1"))] })]));
      const listener = createServer((_, response) => response.end("host")).listen(7001, "::");
      await using _listener = {
        [Symbol.asyncDispose]: () => Promise.resolve(void listener.close()),
      };
      const own6 = outsider.ownAddress6;
      assert.is(await ask(own6, 7001), "host");
      const { subnet6 } = node.config;
      const gateway = subnet6 === undefined ? "" : gatewayAddress6(subnet6);
      const answers = await outputOf(
        node,
        [askLine(at, 8080), askLine(own6, on), askLine(gateway, 7001), askLine(own6, 7001)]
          .concat(askLine(outsider.address6, 7000))
          .join("; "),
      );
      // The world sees the node's address, not the container's.
      assert.equal(answers, ["web-1", "web-1", "closed", "closed", own6]);
    });

    test("forgets a published port with its process", async () => {
      await using node = await aNode();
      node.assign(anAssignment("", { spec: server }));
      await whereIs(node);
      const elements = (): string =>
        execFileSync("nft", ["list", "map", "inet", node.config.bridge, "ports6"], {
          encoding: "utf8",
        });
      assert.match(elements(), /8080/);
      node.assign();
      await node.untilForgotten("web-1");
      assert.not.match(elements(), /8080/);
    });

    test("is off when the setting says so, and everything else works", async () => {
      await using node = await aNode({ environment: { STRATA_SUBNET6: "off" } });
      node.assign(anAssignment("", { spec: server }));
      const { address = "", address6 } = await node.until(
        "web-1",
        ({ state }) => state === "running",
      );
      assert.is(address6, undefined);
      await untilAnswered(address);
    });

    test("makes the node a router that still listens to routers", async () => {
      await using outsider = await anOutsider();
      const accepts = (name: string): string =>
        readFileSync(`/proc/sys/net/ipv6/conf/${name}/accept_ra`, "utf8").trim();
      execFileSync("sh", ["-c", "echo 0 > /proc/sys/net/ipv6/conf/all/forwarding"]);
      assert.is(accepts(outsider.wire), "1");
      await using node = await aNode();
      assert.is(accepts(outsider.wire), "2");
      assert.is(accepts(node.config.bridge), "0");
      assert.is(readFileSync("/proc/sys/net/ipv6/conf/all/forwarding", "utf8"), "1\n");
    });
  });
});
