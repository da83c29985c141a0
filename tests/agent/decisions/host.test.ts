import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";

import { parseCgroupMounts } from "@strata/agent/cgroup/mounts";
import { createUnifiedCgroups } from "@strata/agent/cgroup/unified";
import { parseConfig } from "@strata/agent/config";
import { renderResolvConf } from "@strata/agent/container/resolv-conf";
import { fitName } from "@strata/agent/host/machine";
import { parseHostResolvers } from "@strata/agent/names/host-resolvers";
import { allocateHostPorts } from "@strata/agent/network/host-ports";
import { parseTraffic } from "@strata/agent/network/network";
import {
  containerAddress,
  countSlots,
  gatewayAddress,
  parseSubnet,
} from "@strata/agent/network/subnet";
import { containerAddress6, formatSubnet6, gatewayAddress6 } from "@strata/agent/network/subnet6";

import { assert, suite, throwsWithCode } from "../../support/suite.ts";
import { aTemporaryDirectory } from "../../support/temporary.ts";

suite("settings", (test) => {
  test("have defaults, and follow STRATA_DATA", () => {
    assert.is(parseConfig({}).dataDirectory, "/var/lib/strata/agent");
    assert.is(parseConfig({}).runDirectory, "/run/strata/agent");
    assert.is(parseConfig({ STRATA_DATA: "/x" }).runDirectory, "/x/run/agent");
    assert.is(parseConfig({ STRATA_DISK_HIGH: "50" }).disk.lowShare, 0.49);
  });

  test("are refused with their name when they cannot be used", () => {
    for (const environment of [
      { STRATA_BRIDGE: "a-name-too-long" },
      { STRATA_BRIDGE: 'x"; }' },
      { STRATA_SUBNET: "10.0.0.1/16" },
      { STRATA_SUBNET: "10.0.0.0/30" },
      { STRATA_SUBNET6: "fe80::/64" },
      { STRATA_SUBNET6: "fd00:1:2:3:4::/64" },
      { STRATA_SUBNET6: "fd00::/48" },
      { STRATA_HOST_PORTS: "30000-20000" },
      { STRATA_STARTS_MAX: "0" },
      { STRATA_DISK_HIGH: "100" },
      { STRATA_DISK_HIGH: "70", STRATA_DISK_LOW: "70" },
      { STRATA_DATA: "relative" },
      { STRATA_DATA: "/with\nbreak" },
    ]) {
      throwsWithCode(() => parseConfig(environment), "CONFIG_INVALID");
    }
  });
});

suite("addresses and ports", (test) => {
  test("of IPv6 follow from those of IPv4, unless they are said or switched off", () => {
    const subnet6 = (environment: object) => parseConfig({ ...environment }).subnet6;
    const shown = (environment: object) => {
      const found = subnet6(environment);
      assert.ok(found);
      return [formatSubnet6(found), gatewayAddress6(found), containerAddress6(found, 254)];
    };
    assert.equal(shown({}), ["fd73:7472:a4d::/64", "fd73:7472:a4d::1", "fd73:7472:a4d::100"]);
    assert.equal(shown({ STRATA_SUBNET: "10.0.2.0/24" }), [
      "fd73:7472:a00:200::/64",
      "fd73:7472:a00:200::1",
      "fd73:7472:a00:200::100",
    ]);
    assert.is(shown({ STRATA_SUBNET6: "2001:0DB8::/64" })[0], "2001:db8::/64");
    assert.is(subnet6({ STRATA_SUBNET6: "off" }), undefined);
  });

  test("count up from the bridge's", () => {
    const subnet = parseSubnet("10.77.0.0/16");
    assert.is(gatewayAddress(subnet), "10.77.0.1");
    assert.is(containerAddress(subnet, 0), "10.77.0.2");
    assert.is(containerAddress(subnet, 65_532), "10.77.255.254");
    assert.is(countSlots(subnet), 65_533);
  });

  test("wishes go before free choices, and what a process had is kept", () => {
    const port = { containerPort: 80, protocol: "tcp" } as const;
    const bound = allocateHostPorts({
      ports: [
        { ...port, name: "a" },
        { ...port, name: "b", hostPort: 20_000 },
        { ...port, name: "c" },
      ],
      previous: [{ ...port, name: "c", hostPort: 20_007 }],
      taken: new Set(["tcp/20001"]),
      range: { first: 20_000, last: 20_010 },
    });
    assert.equal(
      bound.map(({ hostPort }) => hostPort),
      [20_002, 20_000, 20_007],
    );
  });

  test("a full range says so", () => {
    const request = {
      ports: [{ name: "a", containerPort: 80, protocol: "tcp" } as const],
      previous: [],
      taken: new Set(["tcp/20000"]),
      range: { first: 20_000, last: 20_000 },
    };
    throwsWithCode(() => allocateHostPorts(request), "NODE_FULL");
  });

  test("traffic is seen from the container's side, of our own wires only", () => {
    const text = [
      "Inter-|   Receive  |  Transmit",
      "   br0: 1 0 0 0 0 0 0 0 2 0 0 0 0 0 0 0",
      " br0v12: 100 0 0 3 0 0 0 0 200 0 0 4 0 0 0 0",
      "br01v12: 9 0 0 0 0 0 0 0 9 0 0 0 0 0 0 0",
    ].join("\n");
    assert.equal(
      [...parseTraffic(text, "br0")],
      [[12, { rxBytes: 200, txBytes: 100, rxDropped: 4, txDropped: 3 }]],
    );
  });

  test("name servers on the host's loopback are asked by the node's own alone", () => {
    const text =
      "# x\nnameserver 127.0.0.53\nnameserver 9.9.9.9\nsearch a b\noptions ndots:2\nevil\n";
    const host = parseHostResolvers(text);
    assert.equal(host.servers, ["127.0.0.53", "9.9.9.9"]);
    assert.is(
      renderResolvConf(host, { nameServer: undefined, tenant: "blue" }),
      "nameserver 9.9.9.9\nsearch a b\noptions ndots:2\n",
    );
    assert.is(
      renderResolvConf(host, { nameServer: "10.77.0.1", tenant: "blue" }),
      "nameserver 10.77.0.1\nsearch blue.strata.internal a b\noptions ndots:2\n",
    );
  });

  test("a host name becomes a label", () => {
    assert.is(fitName("VM_7.example.org"), "vm-7");
    assert.is(fitName("---"), "node");
  });
});

suite("control groups of version 2", (test) => {
  const hierarchy = (path: string): void => {
    // The kernel makes these files with each group; here a folder stands for the hierarchy.
    const groups = ["", "strata", "strata/agent", "strata/agent/web-1"];
    mkdirSync(join(path, "strata/agent/web-1/box"), { recursive: true });
    for (const group of groups) writeFileSync(join(path, group, "cgroup.subtree_control"), "");
  };

  test("get limits and hand their controllers down", async () => {
    await using folder = aTemporaryDirectory();
    hierarchy(folder.path);
    const cgroups = createUnifiedCgroups({
      mount: folder.path,
      parent: "strata/agent",
      disk: undefined,
    });
    cgroups.prepare("web-1", { memoryMaxBytes: 1024, cpuMaxMillis: 1500, pidsMax: 7 });
    const read = (name: string): string =>
      readFileSync(join(folder.path, "strata/agent/web-1", name), "utf8");
    assert.is(read("box/memory.max"), "1024");
    assert.is(read("box/cpu.max"), "150000 100000");
    assert.is(read("box/pids.max"), "7");
    assert.is(read("cgroup.subtree_control"), "+memory +cpu +pids");
  });

  test("say what was used and whether memory ran out", async () => {
    await using folder = aTemporaryDirectory();
    hierarchy(folder.path);
    const box = join(folder.path, "strata/agent/web-1/box");
    writeFileSync(join(box, "cpu.stat"), "usage_usec 42\nuser_usec 40\n");
    writeFileSync(join(box, "memory.current"), "1000\n");
    writeFileSync(join(box, "memory.stat"), "anon 1\ninactive_file 200\nactive_file 300\n");
    writeFileSync(join(box, "pids.current"), "3\n");
    writeFileSync(join(box, "memory.events"), "oom 1\noom_kill 0\n");
    const cgroups = createUnifiedCgroups({
      mount: folder.path,
      parent: "strata/agent",
      disk: undefined,
    });
    assert.equal(cgroups.readUsage("web-1"), { cpuUsageUs: 42, memoryBytes: 500, pids: 3 });
    assert.not.ok(cgroups.wasOutOfMemory("web-1"));
    writeFileSync(join(box, "memory.events"), "oom 1\noom_kill 2\n");
    assert.ok(cgroups.wasOutOfMemory("web-1"));
    assert.is(cgroups.readUsage("web-2"), undefined);
  });

  test("are found beside version 1 on a hybrid host", () => {
    const { legacy, unified } = parseCgroupMounts(
      [
        "30 25 0:26 / /sys/fs/cgroup/cpu,cpuacct rw,nosuid shared:9 - cgroup cgroup rw,cpu,cpuacct",
        "31 25 0:27 / /sys/fs/cgroup/systemd rw - cgroup cgroup rw,xattr,name=systemd",
        "32 25 0:28 / /sys/fs/cgroup/unified rw shared:4 - cgroup2 cgroup2 rw,nsdelegate",
      ].join("\n"),
    );
    assert.is(legacy.get("cpuacct"), "/sys/fs/cgroup/cpu,cpuacct");
    assert.is(legacy.get("name=systemd"), "/sys/fs/cgroup/systemd");
    assert.is(unified, "/sys/fs/cgroup/unified");
  });
});
