import { readFileSync } from "node:fs";

import { runTool } from "../host/run-tool.ts";
import { hasIpv6, makeBridge } from "./bridge.ts";
import { createFirewall } from "./firewall.ts";
import type { PolicyNetwork } from "./policy-parts.ts";
import { containerAddress, containerMac, gatewayAddress } from "./subnet.ts";
import { containerAddress6, gatewayAddress6 } from "./subnet6.ts";
import type { LocalContainer, NetworkView } from "./view.ts";

/** As the container sees them. */
export type TrafficCounters = {
  readonly rxBytes: number;
  readonly txBytes: number;
  /** Packets. */
  readonly rxDropped: number;
  readonly txDropped: number;
};

/** The node's side of the containers' network: one bridge, and nft tables of the same name. */
export type Network = {
  /** Makes bridge and tables whatever is there, with exactly these containers, by their processes' ids. Safe to repeat. */
  readonly setUp: (containers: ReadonlyMap<string, LocalContainer>) => Promise<void>;
  /** True when bridge and tables are there. */
  readonly isUp: () => Promise<boolean>;
  /** Publishes the ports of a container, and lets it reach what it may. Resolves when the kernel has the rules. */
  readonly admit: (processId: string, container: LocalContainer) => Promise<void>;
  /** Takes that back. One that was never admitted is fine. */
  readonly dismiss: (processId: string) => Promise<void>;
  /** What there is to reach, from now on.
   * @throws AgentError TOOL_FAILED: what the kernel refused is tried again with the next change. */
  readonly learn: (view: NetworkView) => Promise<void>;
  /** Where the node's own name server listens at the gateway's address; undefined: nowhere. */
  readonly setResolver: (port: number | undefined) => Promise<void>;
  /** Bytes that each container has received and sent, by its slot. One read for all. */
  readonly readTraffic: () => ReadonlyMap<number, TrafficCounters>;
  readonly tearDown: () => Promise<void>;
  readonly place: (slot: number) => ContainerPlace;
};

/** Where a container is in the network. */
export type ContainerPlace = {
  readonly bridge: string;
  readonly hostInterface: string;
  /** Of the container, the same for all that ever have this place: what the host remembers of it stays true. */
  readonly mac: string;
  readonly address: string;
  readonly addressWithPrefix: string;
  readonly gateway: string;
  /** Undefined where the node has no IPv6. */
  readonly ipv6:
    | { readonly address: string; readonly addressWithPrefix: string; readonly gateway: string }
    | undefined;
};

export function createNetwork(wished: PolicyNetwork, view: NetworkView): Network {
  const network = hasIpv6() ? wished : { ...wished, subnet6: undefined };
  const { bridge, subnet, subnet6 } = network;
  const firewall = createFirewall(network, view);

  return {
    setUp: async (containers) => {
      await firewall.replace(await makeBridge(network), containers);
    },
    isUp: async () => {
      const link = await runTool("ip", ["link", "show", "dev", bridge], { okCodes: [0, 1] });
      return link.code === 0 && (await firewall.isLoaded());
    },
    admit: firewall.admit,
    dismiss: firewall.dismiss,
    learn: firewall.learn,
    setResolver: firewall.setResolver,
    readTraffic: () => parseTraffic(readFileSync("/proc/net/dev", "utf8"), bridge),
    tearDown: async () => {
      await firewall.remove();
      await runTool("ip", ["link", "delete", "dev", bridge], { okCodes: [0, 1] });
    },
    // No neighbours: all that a container sends goes to the gateway, where the rules are.
    place: (slot) => ({
      bridge,
      hostInterface: `${bridge}v${slot}`,
      mac: containerMac(subnet, slot),
      address: containerAddress(subnet, slot),
      addressWithPrefix: `${containerAddress(subnet, slot)}/32`,
      gateway: gatewayAddress(subnet),
      ipv6: subnet6 && {
        address: containerAddress6(subnet6, slot),
        addressWithPrefix: `${containerAddress6(subnet6, slot)}/128`,
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
