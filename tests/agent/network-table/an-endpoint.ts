import type { Endpoint, NetworkTable, Service } from "@strata/protocol/agent/network";

function anEndpoint(part: Partial<Endpoint> = {}): Endpoint {
  return {
    processId: "web-1",
    nodeId: "node-1",
    address: "127.0.0.1",
    containerAddress: "127.0.0.1",
    ports: { http: 20_000 },
    state: "ready",
    generation: 1,
    ...part,
  };
}

export function aService(part: Partial<Service> = {}): Service {
  return {
    id: "service-1",
    tenant: "default",
    alias: "web",
    address: "198.18.0.1",
    access: { kind: "tenant" },
    ports: [{ name: "http", containerPort: 80, protocol: "tcp" }],
    wakes: false,
    endpoints: [anEndpoint()],
    ...part,
  };
}

export function aTable(part: Partial<NetworkTable> = {}): NetworkTable {
  return {
    epoch: "epoch-1",
    boot: "boot-1",
    revision: 1,
    since: 0,
    services: [],
    removed: [],
    ...part,
  };
}
