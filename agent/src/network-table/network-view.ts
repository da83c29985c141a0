import type { Logger } from "pino";

import type { AgentConfig } from "../config.ts";
import { readStateFile } from "../durable-file.ts";
import type { NetworkView } from "../network/view.ts";
import { KeptNetwork, type NetworkState, restoreNetwork } from "./network-state.ts";

export type ViewOptions = {
  /** This node. */
  readonly nodeId: string;
  /** On which its ingress listens, should it be one. */
  readonly ingressPorts: readonly number[];
};

/** Where an ingress of this node listens for HTTP and HTTPS. */
export function ingressPorts({ ingress }: Pick<AgentConfig, "ingress">): readonly number[] {
  return [ingress.httpPort, ingress.httpsPort];
}

/** What names and rules need of the table. Pure. */
export function viewNetwork(
  { services, nodes, ingress }: Pick<NetworkState, "services" | "nodes" | "ingress">,
  { nodeId, ingressPorts }: ViewOptions,
): NetworkView {
  const routed = ingress?.routes.flatMap(({ tcpPort }) => tcpPort ?? []) ?? [];
  const ports = ingress === null ? [] : [...ingressPorts, ...routed];
  return { nodeId, services, nodes, ingressPorts: ports };
}

/** What the agent's last life knew. Undefined when it knew nothing, or the file is damaged. */
export function readNetworkView(
  path: string,
  { logger, ...options }: ViewOptions & { readonly logger: Logger },
): NetworkView | undefined {
  try {
    const kept = readStateFile(path, KeptNetwork);
    return kept && viewNetwork(restoreNetwork(kept), options);
  } catch (error) {
    logger.error({ err: error }, "what was known of the network is lost");
    return undefined;
  }
}
