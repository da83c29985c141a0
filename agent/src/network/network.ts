import { readFileSync, writeFileSync } from "node:fs";

import { runTool } from "../host/run-tool.ts";
import { type PublishedPort, renderElement, renderRuleset } from "./ruleset.ts";
import { containerAddress, gatewayAddress, type Subnet } from "./subnet.ts";

export type TrafficCounters = { readonly rxBytes: number; readonly txBytes: number };

/** The node's side of the containers' network: one bridge and one nft table of the same name. */
export type Network = {
  /** Makes bridge and table whatever is there, with exactly these ports. Safe to repeat. */
  readonly setUp: (ports: readonly PublishedPort[]) => Promise<void>;
  /** True when bridge and table are there. */
  readonly isUp: () => Promise<boolean>;
  readonly publish: (ports: readonly PublishedPort[]) => Promise<void>;
  /** Elements that are not there are fine. */
  readonly withdraw: (ports: readonly PublishedPort[]) => Promise<void>;
  /** Bytes that each container has received and sent, by its slot. One read for all. */
  readonly readTraffic: () => ReadonlyMap<number, TrafficCounters>;
  readonly tearDown: () => Promise<void>;
  readonly place: (slot: number) => ContainerPlace;
};

/** Where a container is in the network. */
export type ContainerPlace = {
  readonly bridge: string;
  readonly hostInterface: string;
  readonly address: string;
  readonly addressWithPrefix: string;
  readonly gateway: string;
};

export function createNetwork(bridge: string, subnet: Subnet): Network {
  const elements = (verb: "add" | "delete", ports: readonly PublishedPort[]): string =>
    ports.map((port) => `${verb} element ip ${bridge} ports { ${renderElement(port)} }\n`).join("");

  return {
    setUp: async (ports) => {
      await makeBridge(bridge, subnet);
      await runTool("nft", ["-f", "-"], { input: renderRuleset(bridge, subnet, ports) });
    },
    isUp: async () => {
      const link = await runTool("ip", ["link", "show", "dev", bridge], { okCodes: [0, 1] });
      const table = await runTool("nft", ["list", "map", "ip", bridge, "ports"], {
        okCodes: [0, 1],
      });
      return link.code === 0 && table.code === 0;
    },
    publish: async (ports) => {
      if (ports.length > 0) await runTool("nft", ["-f", "-"], { input: elements("add", ports) });
    },
    withdraw: async (ports) => {
      // One by one: nft takes a batch back as a whole when one of its elements is gone already.
      for (const port of ports) {
        await runTool("nft", ["-f", "-"], { input: elements("delete", [port]), okCodes: [0, 1] });
      }
    },
    readTraffic: () => parseTraffic(readFileSync("/proc/net/dev", "utf8"), bridge),
    tearDown: async () => {
      await runTool("nft", ["-f", "-"], {
        input: `table ip ${bridge}\ndelete table ip ${bridge}\n`,
      });
      await runTool("ip", ["link", "delete", "dev", bridge], { okCodes: [0, 1] });
    },
    place: (slot) => ({
      bridge,
      hostInterface: `${bridge}v${slot}`,
      address: containerAddress(subnet, slot),
      addressWithPrefix: `${containerAddress(subnet, slot)}/${subnet.prefix}`,
      gateway: gatewayAddress(subnet),
    }),
  };
}

async function makeBridge(bridge: string, subnet: Subnet): Promise<void> {
  const show = await runTool("ip", ["link", "show", "dev", bridge], { okCodes: [0, 1] });
  if (show.code !== 0) await runTool("ip", ["link", "add", bridge, "type", "bridge"]);
  await runTool("ip", [
    "address",
    "replace",
    `${gatewayAddress(subnet)}/${subnet.prefix}`,
    "dev",
    bridge,
  ]);
  await runTool("ip", ["link", "set", bridge, "up"]);
  setSysctl("ip_forward", 1);
  // Lets a connection to 127.0.0.1:PORT leave through the bridge; the input chain keeps containers off 127.0.0.0/8.
  setSysctl(`conf/${bridge}/route_localnet`, 1);
}

/** /proc/sys/net shows the network namespace of whoever opens it, so this works inside one as well. */
function setSysctl(name: string, value: number): void {
  const path = `/proc/sys/net/ipv4/${name}`;
  if (readFileSync(path, "utf8").trim() !== String(value)) writeFileSync(path, String(value));
}

/** The host's end of a wire receives what the container sends. Columns of /proc/net/dev: received bytes first, sent
 * bytes ninth. */
export function parseTraffic(text: string, bridge: string): ReadonlyMap<number, TrafficCounters> {
  const traffic = new Map<number, TrafficCounters>();
  for (const line of text.split("\n")) {
    const [name = "", counters = ""] = line.trim().split(/:\s*/);
    const slot = name.startsWith(`${bridge}v`) ? Number(name.slice(bridge.length + 1)) : Number.NaN;
    const columns = counters.split(/\s+/).map(Number);
    if (Number.isSafeInteger(slot)) {
      traffic.set(slot, { rxBytes: columns[8] ?? 0, txBytes: columns[0] ?? 0 });
    }
  }
  return traffic;
}
