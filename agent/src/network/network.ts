import { readFileSync } from "node:fs";

import { runTool } from "../host/run-tool.ts";
import { hasIpv6, makeBridge } from "./bridge.ts";
import {
  type ContainerNetwork,
  type PublishedPort,
  removeTables,
  renderChange,
  renderRuleset,
} from "./ruleset.ts";
import { containerAddress, gatewayAddress } from "./subnet.ts";
import { containerAddress6, gatewayAddress6 } from "./subnet6.ts";

/** As the container sees them. */
export type TrafficCounters = {
  readonly rxBytes: number;
  readonly txBytes: number;
  /** Packets. */
  readonly rxDropped: number;
  readonly txDropped: number;
};

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
  /** Undefined where the node has no IPv6. */
  readonly ipv6:
    | { readonly address: string; readonly addressWithPrefix: string; readonly gateway: string }
    | undefined;
};

export function createNetwork(wished: ContainerNetwork): Network {
  const network = hasIpv6() ? wished : { ...wished, subnet6: undefined };
  const { bridge, subnet, subnet6 } = network;
  const change = (verb: "add" | "delete", ports: readonly PublishedPort[]): string =>
    ports.map((port) => renderChange(verb, network, port)).join("");

  return {
    setUp: async (ports) => {
      await makeBridge(network);
      await runTool("nft", ["-f", "-"], { input: renderRuleset(network, ports) });
    },
    isUp: async () => {
      const link = await runTool("ip", ["link", "show", "dev", bridge], { okCodes: [0, 1] });
      const table = await runTool("nft", ["list", "map", "inet", bridge, "ports"], {
        okCodes: [0, 1],
      });
      return link.code === 0 && table.code === 0;
    },
    publish: async (ports) => {
      if (ports.length > 0) await runTool("nft", ["-f", "-"], { input: change("add", ports) });
    },
    withdraw: async (ports) => {
      // One by one: nft takes a batch back as a whole when one of its elements is gone already.
      for (const port of ports) {
        await runTool("nft", ["-f", "-"], { input: change("delete", [port]), okCodes: [0, 1] });
      }
    },
    readTraffic: () => parseTraffic(readFileSync("/proc/net/dev", "utf8"), bridge),
    tearDown: async () => {
      await runTool("nft", ["-f", "-"], { input: removeTables(bridge) });
      await runTool("ip", ["link", "delete", "dev", bridge], { okCodes: [0, 1] });
    },
    place: (slot) => ({
      bridge,
      hostInterface: `${bridge}v${slot}`,
      address: containerAddress(subnet, slot),
      addressWithPrefix: `${containerAddress(subnet, slot)}/${subnet.prefix}`,
      gateway: gatewayAddress(subnet),
      ipv6: subnet6 && {
        address: containerAddress6(subnet6, slot),
        addressWithPrefix: `${containerAddress6(subnet6, slot)}/64`,
        gateway: gatewayAddress6(subnet6),
      },
    }),
  };
}

/** The host's end of a wire receives what the container sends. Columns of /proc/net/dev: bytes, packets, errors and drops
 * first of what it received, from the ninth on of what it sent. */
export function parseTraffic(text: string, bridge: string): ReadonlyMap<number, TrafficCounters> {
  const traffic = new Map<number, TrafficCounters>();
  for (const line of text.split("\n")) {
    const [name = "", counters = ""] = line.trim().split(/:\s*/);
    const slot = name.startsWith(`${bridge}v`) ? Number(name.slice(bridge.length + 1)) : Number.NaN;
    const columns = counters.split(/\s+/).map(Number);
    if (Number.isSafeInteger(slot)) {
      const [txBytes = 0, , , txDropped = 0] = columns;
      const [rxBytes = 0, , , rxDropped = 0] = columns.slice(8);
      traffic.set(slot, { rxBytes, txBytes, rxDropped, txDropped });
    }
  }
  return traffic;
}
