import type { NetworkView } from "@strata/agent/network/view";
import type { ProcessReport } from "@strata/protocol/agent/messages";
import type { Service } from "@strata/protocol/agent/network";

/** A subscription that its tenant reaches, with one HTTP port. */
export function aService(wishes: Partial<Service> = {}): Service {
  const { tenant = "default", alias = "web" } = wishes;
  return {
    id: `subscription-${tenant}-${alias}`,
    tenant,
    alias,
    address: "198.18.0.1",
    access: { kind: "tenant" },
    ports: [{ name: "tcp", containerPort: 8080, protocol: "tcp" }],
    wakes: false,
    endpoints: [],
    ...wishes,
  };
}

const OWN_NODE = "node-own";

/** A process of this node as the controller tells of it. */
export function anOwnEndpoint(
  report: ProcessReport | undefined,
  wishes: Partial<Service["endpoints"][number]> = {},
): Service["endpoints"][number] {
  const ports = (report?.ports ?? []).map(({ name, hostPort }) => [name, hostPort ?? 0] as const);
  return {
    processId: report?.processId ?? "",
    nodeId: OWN_NODE,
    address: "192.0.2.1",
    containerAddress: report?.address ?? "",
    ports: Object.fromEntries(ports),
    state: "ready",
    generation: 1,
    ...wishes,
  };
}

export function aView(
  services: readonly Service[],
  wishes: Partial<NetworkView> = {},
): NetworkView {
  return {
    nodeId: OWN_NODE,
    services: new Map(services.map((service) => [service.id, service])),
    nodes: [{ id: OWN_NODE, address: "192.0.2.1" }],
    ingressPorts: [],
    ...wishes,
  };
}
