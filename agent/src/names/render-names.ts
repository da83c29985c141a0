import type { Service } from "@strata/protocol/agent/network";
import { Name } from "@strata/protocol/names";

import { listDestinations } from "../network/endpoints.ts";
import type { ContainerNetwork } from "../network/ruleset.ts";
import type { NetworkView } from "../network/view.ts";

/** Names of subscriptions are below it: `internal` belongs to nobody and never will (ICANN, 2024). */
export const DOMAIN = "strata.internal";

/** How long, in seconds, who asked may go on with an answer. Addresses of subscriptions stay; processes come and go. */
const TTL_S = 5;

export type NamesInput = {
  readonly network: Pick<ContainerNetwork, "subnet" | "subnet6">;
  readonly view: NetworkView;
  /** With containers on this node: whose processes are named one by one. */
  readonly tenants: ReadonlySet<string>;
  /** Who is asked for all other names. */
  readonly upstreams: readonly string[];
};

/** What dnsmasq is to answer, as its configuration. The same input gives the same text. Pure.
 *
 *   alias.tenant.strata.internal                     A    the subscription's virtual address
 *   _port._tcp.alias.tenant.strata.internal          SRV  its processes that are ready, with the port of each
 *   process.alias.tenant.strata.internal             A    where such a process is reached
 *
 * All other names below the domain do not exist. */
export function renderNames({ network, view, tenants, upstreams }: NamesInput): string {
  const services = [...view.services.values()].toSorted((a, b) => (nameOf(a) < nameOf(b) ? -1 : 1));
  const lines = services.flatMap((service) => [
    `host-record=${nameOf(service)},${service.address}`,
    ...(tenants.has(service.tenant) || service.access.kind === "everyone"
      ? listProcesses({ network, view, service })
      : []),
  ]);
  return [...settings, ...upstreams.map((address) => `server=${address}`), ...lines]
    .map((line) => `${line}\n`)
    .join("");
}

/** dnsmasq knows nothing of the host's files, forwards no name without a dot, and keeps what others answered. */
const settings = [
  "no-hosts",
  "no-resolv",
  "domain-needed",
  `local=/${DOMAIN}/`,
  `local-ttl=${TTL_S}`,
  `neg-ttl=${TTL_S}`,
  "cache-size=10000",
  "dns-forward-max=1000",
];

function nameOf({ alias, tenant }: Service): string {
  return `${alias}.${tenant}.${DOMAIN}`;
}

function listProcesses({
  network,
  view,
  service,
}: Pick<NamesInput, "network" | "view"> & { readonly service: Service }): readonly string[] {
  const name = nameOf(service);
  const addresses = new Map<string, string>();
  const ports: string[] = [];
  for (const found of listDestinations(network, service, view.nodeId)) {
    const { processId, port, protocol, address, number } = found;
    // It came over the wire as any text.
    if (!found.isReady || !Name.safeParse(processId).success) continue;
    addresses.set(processId, address);
    ports.push(`srv-host=_${port}._${protocol}.${name},${processId}.${name},${number},0,1`);
  }
  const hosts = [...addresses].map(([id, address]) => `host-record=${id}.${name},${address}`);
  return [...hosts, ...ports].toSorted();
}
