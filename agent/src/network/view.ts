import { isIPv4 } from "node:net";

import type { NetworkTable, Service } from "@strata/protocol/agent/network";

import type { BoundPort } from "./host-ports.ts";

type NodeAddress = NonNullable<NetworkTable["nodes"]>[number];

/** What a node has to know of the network of the installation for names and rules. */
export type NetworkView = {
  readonly nodeId: string;
  readonly services: ReadonlyMap<string, Service>;
  readonly nodes: readonly NodeAddress[];
  /** TCP ports of this node on which an ingress listens; none where it is no ingress. */
  readonly ingressPorts: readonly number[];
};

/** Nothing was ever told: nobody may reach anybody. */
export const emptyView: NetworkView = {
  nodeId: "",
  services: new Map(),
  nodes: [],
  ingressPorts: [],
};

/** A process of this node that has an address. */
export type LocalContainer = {
  readonly slot: number;
  readonly tenant: string;
  readonly alias: string;
  readonly ports: readonly BoundPort[];
};

/** Whether a node's address is one that rules and names can lead to: IPv4, and not the asking machine itself. */
export function isReachable(address: string): boolean {
  return isIPv4(address) && !/^(0|127)\./.test(address);
}
