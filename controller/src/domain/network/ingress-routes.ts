/** Routes as an ingress carries them out: those that people wrote, and one for each subscription that has a TCP port.
 * Pure. */
import type { IngressRoute, Service } from "@strata/protocol/agent/network";
import { RouteInput } from "@strata/protocol/api/routes";

/** A route as somebody wrote it. */
export type WrittenRoute = {
  readonly tenant: string;
  readonly name: string;
  readonly route: RouteInput;
};

/** Where a subscription is reached without a route of its own. */
export function defaultHost(
  { tenant, alias }: { readonly tenant: string; readonly alias: string },
  domain: string,
): string {
  return `${alias}.${tenant}.${domain}`;
}

/** The port that requests go to where nobody names one: `http`, or the first. Undefined where none is TCP. */
export function mainPort(
  ports: readonly { readonly name: string; readonly protocol: "tcp" | "udp" }[],
): string | undefined {
  const tcp = ports.filter(({ protocol }) => protocol === "tcp");
  return (tcp.find(({ name }) => name === "http") ?? tcp[0])?.name;
}

/** Undefined for a subscription without a TCP port. */
export function toDefaultRoute(service: Service, domain: string): IngressRoute | undefined {
  const { id, tenant, alias } = service;
  const port = mainPort(service.ports);
  if (port === undefined) return undefined;
  const route = RouteInput.parse({
    hosts: [defaultHost(service, domain)],
    backends: [{ subscription: alias }],
  });
  return {
    ...carriedOut(route),
    id: `default.${tenant}.${alias}`,
    tenant,
    backends: [{ service: id, port, weight: 100 }],
  };
}

/** Undefined where none of its backends is there. */
export function toIngressRoute(
  { tenant, name, route }: WrittenRoute,
  findService: (alias: string) => Service | undefined,
): IngressRoute | undefined {
  const backends = route.backends.flatMap(({ subscription, port, weight }) => {
    const service = findService(subscription);
    if (service === undefined) return [];
    return [{ service: service.id, port: port ?? mainPort(service.ports) ?? "http", weight }];
  });
  if (backends.length === 0) return undefined;
  return { ...carriedOut(route), id: `route.${tenant}.${name}`, tenant, backends };
}

function carriedOut(route: RouteInput): Omit<IngressRoute, "id" | "tenant" | "backends"> {
  const { hosts, path, tcpPort, balance, sticky, redirectToHttps, retries } = route;
  const { requestsPerProcess, requestsPerSecond, body, answer, idle, queueFor, queue } =
    route.limits;
  return {
    hosts,
    path,
    ...(tcpPort === undefined ? {} : { tcpPort }),
    balance,
    sticky,
    redirectToHttps,
    retries,
    sendProxyProtocol: route.sendProxyProtocol,
    limits: {
      ...(requestsPerProcess === undefined ? {} : { requestsPerProcess }),
      ...(requestsPerSecond === undefined ? {} : { requestsPerSecond }),
      ...(body === undefined ? {} : { bodyBytesMax: body }),
      answerMsMax: answer,
      idleMsMax: idle,
      queueMsMax: queueFor,
      queueMax: queue,
    },
  };
}

/** All that an ingress leads, in an order that stays. Of one host and path there is one: what somebody wrote comes
 * before what comes by itself. */
export function planRoutes(
  written: readonly IngressRoute[],
  defaults: readonly IngressRoute[],
): IngressRoute[] {
  const taken = new Set(written.filter(({ path }) => path === "/").flatMap(({ hosts }) => hosts));
  const free = defaults.filter(({ hosts }) => !hosts.some((host) => taken.has(host)));
  return [...written, ...free].toSorted((a, b) => (a.id < b.id ? -1 : 1));
}
