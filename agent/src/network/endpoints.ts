import type { Service } from "@strata/protocol/agent/network";

import type { ContainerNetwork } from "./ruleset.ts";
import { slotOfAddress } from "./subnet.ts";
import { containerAddress6 } from "./subnet6.ts";
import { isReachable } from "./view.ts";

/** Where one port of one process is reached from this node. */
export type Destination = {
  readonly processId: string;
  readonly port: string;
  readonly protocol: "tcp" | "udp";
  readonly isReady: boolean;
  /** IPv4. */
  readonly address: string;
  readonly number: number;
  /** Of a process of this node, where containers have IPv6. */
  readonly address6: string | undefined;
};

/** Every port that the processes of a service have: on this node at the container, elsewhere at the node. What came over
 * the wire as an address and is none is left out: it would end up in rules. Pure. */
export function listDestinations(
  { subnet, subnet6 }: Pick<ContainerNetwork, "subnet" | "subnet6">,
  service: Service,
  nodeId: string,
): readonly Destination[] {
  return service.endpoints.flatMap((endpoint): readonly Destination[] => {
    const { processId, address, containerAddress } = endpoint;
    const isReady = endpoint.state === "ready";
    if (endpoint.nodeId !== nodeId) {
      if (!isReachable(address)) return [];
      return service.ports.flatMap(({ name: port, protocol }) => {
        const number = endpoint.ports[port];
        if (number === undefined) return [];
        return [{ processId, port, protocol, isReady, address, number, address6: undefined }];
      });
    }
    const slot = slotOfAddress(subnet, containerAddress);
    if (slot === undefined) return [];
    const address6 = subnet6 && containerAddress6(subnet6, slot);
    return service.ports.map(({ name: port, protocol, containerPort: number }) => {
      return { processId, port, protocol, isReady, address: containerAddress, number, address6 };
    });
  });
}
