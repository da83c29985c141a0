import type { NetworkState } from "@strata/agent/network-table/network-state";
import type {
  Endpoint,
  Ingress,
  IngressRoute,
  NetworkTable,
  Service,
} from "@strata/protocol/agent/network";

export function anEndpoint(part: Partial<Endpoint> = {}): Endpoint {
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

export function aRoute(part: Partial<IngressRoute> = {}): IngressRoute {
  return {
    id: "web",
    tenant: "default",
    hosts: ["web.test"],
    path: "/",
    backends: [{ service: "service-1", port: "http", weight: 1 }],
    balance: "leastConnections",
    sticky: false,
    redirectToHttps: false,
    retries: 3,
    sendProxyProtocol: false,
    limits: {
      answerMsMax: 30_000,
      idleMsMax: 60_000,
      queueMsMax: 10_000,
      queueMax: 100,
    },
    ...part,
  };
}

/** Of a node that is an ingress. */
export function aState(
  revision: number,
  services: readonly Service[],
  ingress: Partial<Ingress> = {},
): NetworkState {
  return {
    epoch: "epoch-1",
    boot: "boot-1",
    revision,
    services: new Map(services.map((service) => [service.id, service])),
    nodes: [],
    ingress: { routes: [aRoute()], certificates: [], challenges: [], ...ingress },
  };
}
