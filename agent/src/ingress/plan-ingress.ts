import { isIP } from "node:net";

import type {
  Endpoint,
  IngressCertificate,
  IngressRoute,
  Service,
} from "@strata/protocol/agent/network";
import { Name } from "@strata/protocol/names";

import type { NetworkState } from "../network-table/network-state.ts";
import { isFitChallenge, isFitHost, isFitId, isFitPath } from "./fit-names.ts";
import { shareWeights } from "./share-weights.ts";

/** What HAProxy has to do, checked: nothing in it can be more than the value that it is meant to be. */
export type IngressPlan = {
  readonly routes: readonly RoutePlan[];
  readonly certificates: readonly IngressCertificate[];
  readonly challenges: readonly { readonly token: string; readonly answer: string }[];
  /** What cannot be carried out, for people. */
  readonly problems: readonly string[];
};

export type RoutePlan = {
  /** Without hosts that are not fit or another route's. */
  readonly route: IngressRoute;
  /** A request without a ready process wakes one. */
  readonly wakes: boolean;
  /** By the ids of their processes. */
  readonly servers: ReadonlyMap<string, ServerPlan>;
};

export type ServerPlan = {
  readonly service: string;
  readonly address: string;
  readonly port: number;
  /** 0 to 256. */
  readonly weight: number;
  /** Otherwise it finishes what it has. */
  readonly takesNew: boolean;
};

export type IngressSituation = {
  readonly nodeId: string;
  /** Ports of the ingress itself. */
  readonly ownPorts: readonly number[];
  readonly isUsable: (certificate: IngressCertificate) => boolean;
};

/** Pure. Of two routes that want the same host and path, or port, the first one has it. */
export function planIngress(
  { services, ingress }: NetworkState,
  situation: IngressSituation,
): IngressPlan {
  const problems: string[] = [];
  const { routes = [], certificates = [], challenges = [] } = ingress ?? {};
  const claim = createClaims(situation.ownPorts, problems);
  const ids = new Set<string>();
  return {
    routes: routes.flatMap((wished) => {
      if (!isFitId(wished.id) || ids.has(wished.id)) {
        problems.push(`route ${JSON.stringify(wished.id)}: its id is not fit, or another one's`);
        return [];
      }
      const route = claim(wished);
      if (route === undefined) return [];
      ids.add(route.id);
      const parts = findParts(route, services, problems);
      return {
        route,
        wakes: parts.some(({ service }) => service.wakes),
        servers: planServers(parts, situation, problems),
      };
    }),
    certificates: certificates.flatMap((certificate) => {
      if (!isFitId(certificate.id) || !situation.isUsable(certificate)) {
        problems.push(`certificate ${JSON.stringify(certificate.id)} cannot be used`);
        return [];
      }
      return { ...certificate, hosts: certificate.hosts.filter(isFitHost) };
    }),
    challenges: challenges.filter(isFitChallenge),
    problems,
  };
}

/** Gives every host and path, and every port, to one route alone. */
function createClaims(
  ownPorts: readonly number[],
  problems: string[],
): (route: IngressRoute) => IngressRoute | undefined {
  const taken = new Set<string>(ownPorts.map((port) => `port ${port}`));
  const take = (route: IngressRoute, what: string): boolean => {
    if (!taken.has(what)) {
      taken.add(what);
      return true;
    }
    problems.push(`route ${route.id}: ${what} is taken`);
    return false;
  };
  return (route) => {
    if (route.tcpPort !== undefined) {
      return take(route, `port ${route.tcpPort}`) ? { ...route, hosts: [] } : undefined;
    }
    if (!isFitPath(route.path)) {
      problems.push(`route ${route.id}: its path cannot be matched`);
      return undefined;
    }
    const path = route.path.replace(/\/+$/, "");
    const hosts = route.hosts.filter((host) => {
      if (isFitHost(host)) return take(route, `${host}${path}/`);
      problems.push(`route ${route.id}: ${JSON.stringify(host.slice(0, 255))} is no host name`);
      return false;
    });
    return hosts.length === 0 ? undefined : { ...route, path, hosts };
  };
}

type Part = {
  readonly service: Service;
  readonly port: string;
  readonly weight: number;
};

function findParts(
  { id, backends }: IngressRoute,
  services: ReadonlyMap<string, Service>,
  problems: string[],
): readonly Part[] {
  const parts = new Map<string, Part>();
  for (const { service: serviceId, port, weight } of backends) {
    const service = services.get(serviceId);
    // One that is gone takes its share along.
    if (service === undefined) continue;
    if (parts.has(serviceId)) problems.push(`route ${id}: ${service.alias} is in it twice`);
    else parts.set(serviceId, { service, port, weight });
  }
  return [...parts.values()];
}

function planServers(
  parts: readonly Part[],
  { nodeId }: IngressSituation,
  problems: string[],
): ReadonlyMap<string, ServerPlan> {
  const weights = shareWeights(
    parts.map(({ service, weight }) => ({
      weight,
      ready: service.endpoints.filter(({ state }) => state === "ready").length,
    })),
  );
  const servers = new Map<string, ServerPlan>();
  for (const [index, part] of parts.entries()) {
    for (const endpoint of part.service.endpoints) {
      const place = findPlace(endpoint, part, nodeId);
      if (place === undefined) continue;
      if (!Name.safeParse(endpoint.processId).success || isIP(place.address) === 0) {
        problems.push(`process ${JSON.stringify(endpoint.processId)} has no address to connect to`);
        continue;
      }
      servers.set(endpoint.processId, {
        ...place,
        service: part.service.id,
        weight: weights[index] ?? 0,
        takesNew: endpoint.state === "ready",
      });
    }
  }
  return servers;
}

type Place = { readonly address: string; readonly port: number };

/** On its own node a process is reached without the detour over its published port. */
function findPlace(
  { nodeId, address, containerAddress, ports }: Endpoint,
  { service, port: name }: Part,
  ownNodeId: string,
): Place | undefined {
  const wanted = service.ports.find((port) => port.name === name && port.protocol === "tcp");
  if (wanted === undefined) return undefined;
  if (nodeId === ownNodeId) return { address: containerAddress, port: wanted.containerPort };
  const port = ports[name];
  return port === undefined ? undefined : { address, port };
}
