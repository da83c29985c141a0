import { execFileSync } from "node:child_process";
import { setTimeout as delay } from "node:timers/promises";

import { createNetwork } from "@strata/agent/network/network";
import { parseSubnet } from "@strata/agent/network/subnet";
import { parseSubnet6 } from "@strata/agent/network/subnet6";
import { emptyView } from "@strata/agent/network/view";

import { assert, suite } from "../../support/suite.ts";
import { aNode } from "../support/a-node.ts";
import { anAssignment } from "../support/an-assignment.ts";
import { ask, inOwnNetwork } from "../support/own-network.ts";

inOwnNetwork(
  import.meta.url,
  () => {
    suite("a node without IPv6", (test) => {
      test("works over IPv4 where the operator has switched IPv6 off", async () => {
        await using node = await aNode();
        const page = "echo ok > /var/www/index.html; exec httpd -f -p 8080 -h /var/www";
        const ports = [{ name: "http", containerPort: 8080, protocol: "tcp" as const }];
        node.assign(anAssignment(page, { spec: { ports, stopGraceMs: 0 } }));
        const report = await node.until("web-1", ({ state }) => state === "running");
        assert.is(report.address6, undefined);
        while ((await ask(report.address ?? "", 8080)) === "closed") await delay(50);
        assert.is(await ask("127.0.0.1", report.ports[0]?.hostPort ?? 0), "ok");
      });

      test("makes bridge and table where the kernel has no IPv6 at all", async () => {
        // What such a kernel does not have is out of sight; this view of the files is the test's alone.
        execFileSync("mount", ["-t", "tmpfs", "none", "/proc/sys/net/ipv6"]);
        const subnet = parseSubnet("10.99.0.0/24");
        const subnet6 = parseSubnet6(undefined, subnet);
        const network = createNetwork(
          { bridge: "tnone", subnet, subnet6, hostPorts: { first: 20_000, last: 29_999 } },
          emptyView,
        );
        await network.setUp(new Map());
        assert.ok(await network.isUp());
        assert.is(network.place(0).ipv6, undefined);
        await network.tearDown();
        assert.not.ok(await network.isUp());
      });
    });
  },
  "echo 1 > /proc/sys/net/ipv6/conf/all/disable_ipv6",
);
