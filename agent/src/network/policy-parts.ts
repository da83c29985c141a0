import type { Service } from "@strata/protocol/agent/network";

import type { PortRange } from "../config.ts";
import type { Destination } from "./endpoints.ts";
import type { NftObjects, NftSet } from "./nft-objects.ts";
import type { ContainerNetwork } from "./ruleset.ts";
import { containerAddress, gatewayAddress } from "./subnet.ts";
import { containerAddress6 } from "./subnet6.ts";
import { isReachable, type LocalContainer, type NetworkView } from "./view.ts";

export type PolicyNetwork = ContainerNetwork & { readonly hostPorts: PortRange };

/** The parts of the changing half of the node's rules (`policy.ts`), each planned for itself. Pure. */
export type Listing = (service: Service) => readonly Destination[];

const DESTINATION = "ipv4_addr . inet_proto . inet_service";
const DESTINATION6 = "ipv6_addr . inet_proto . inet_service";

type Name = readonly [name: string, kind: NftSet["kind"], type: string];

/** Each part has its share of it. */
export const VIRTUAL_PORTS = "inet services";
const virtualPorts: Name = [VIRTUAL_PORTS, "map", `${DESTINATION} : verdict`];

type Book = NftObjects & {
  readonly add: (name: string, kind: NftSet["kind"], type: string) => void;
  readonly put: (name: string, key: string, value?: string) => void;
  readonly chain: (name: string, rules: readonly string[]) => void;
};

function createBook(names: readonly Name[]): Book {
  const sets = new Map<string, NftSet & { readonly elements: Map<string, string> }>();
  const chains = new Map<string, readonly string[]>();
  const add: Book["add"] = (name, kind, type) =>
    void sets.set(name, { kind, type, elements: new Map() });
  for (const name of names) add(...name);
  return {
    sets,
    chains,
    add,
    put: (name, key, value = "") => void sets.get(name)?.elements.set(key, value),
    chain: (name, rules) => void chains.set(name, rules),
  };
}

/** Where the node's own name server is led to from the one port of names. */
export function planResolver(network: PolicyNetwork, port: number | undefined): NftObjects {
  const name = "inet resolver";
  const book = createBook([[name, "map", "inet_proto . inet_service : ipv4_addr . inet_service"]]);
  if (port === undefined) return book;
  for (const protocol of ["tcp", "udp"])
    book.put(name, `${protocol} . 53`, `${gatewayAddress(network.subnet)} . ${port}`);
  return book;
}

const containerSets: readonly Name[] = [
  ["inet ports", "map", "inet_proto . inet_service : ipv4_addr . inet_service"],
  ["inet ports6", "map", "inet_proto . inet_service : ipv6_addr . inet_service"],
  ["inet sources", "map", "ipv4_addr : verdict"],
  ["inet sources6", "map", "ipv6_addr : verdict"],
  ["bridge own", "set", "ifname . ipv4_addr"],
  ["bridge own6", "set", "ifname . ipv6_addr"],
];

/** Who the containers of this node are, and which ports of the node lead to them. */
export function planContainers(
  { bridge, subnet, subnet6 }: PolicyNetwork,
  containers: Iterable<LocalContainer>,
): NftObjects {
  const book = createBook(containerSets);
  for (const { slot, tenant, alias, ports } of containers) {
    const source = `goto from.${ownName(tenant, alias)}`;
    const address = containerAddress(subnet, slot);
    const wire = `"${bridge}v${slot}"`;
    book.put("bridge own", `${wire} . ${address}`);
    book.put("inet sources", address, source);
    const address6 = subnet6 && containerAddress6(subnet6, slot);
    if (address6 !== undefined) {
      book.put("bridge own6", `${wire} . ${address6}`);
      book.put("inet sources6", address6, source);
    }
    for (const { protocol, hostPort, containerPort } of ports) {
      const key = `${protocol} . ${hostPort}`;
      book.put("inet ports", key, `${address} . ${containerPort}`);
      if (address6 !== undefined) book.put("inet ports6", key, `${address6} . ${containerPort}`);
    }
  }
  return book;
}

const viewSets: readonly Name[] = [
  virtualPorts,
  ["inet open", "set", DESTINATION],
  ["inet open6", "set", DESTINATION6],
  ["inet virtual", "set", "ipv4_addr"],
  ["inet nodes", "set", "ipv4_addr"],
  ["inet published", "set", DESTINATION],
  ["inet ingress", "set", "inet_service"],
];

/** What holds for whoever runs here. */
export function planView(network: PolicyNetwork, view: NetworkView, list: Listing): NftObjects {
  const book = createBook(viewSets);
  for (const service of view.services.values()) {
    book.put("inet virtual", service.address);
    notePublished(book, { network, service, view }, list(service));
    if (service.access.kind === "everyone") noteReaches(book, service, { list, reaches: ["open"] });
  }
  for (const { address } of view.nodes) {
    if (isReachable(address)) book.put("inet nodes", address);
  }
  for (const port of view.ingressPorts) book.put("inet ingress", String(port));
  return book;
}

/** Ports of other nodes that the range of published ports does not tell. */
function notePublished(
  book: Book,
  told: {
    readonly network: PolicyNetwork;
    readonly service: Service;
    readonly view: NetworkView;
  },
  destinations: readonly Destination[],
): void {
  const { network, service, view } = told;
  const { hostPorts } = network;
  const away = new Set(
    service.endpoints.flatMap(({ nodeId, processId }) =>
      nodeId === view.nodeId ? [] : [processId],
    ),
  );
  for (const { processId, address, protocol, number } of destinations) {
    const isTold = number >= hostPorts.first && number <= hostPorts.last;
    if (away.has(processId) && !isTold) {
      book.put("inet published", `${address} . ${protocol} . ${number}`);
    }
  }
}

/** A tenant that has containers here. */
export type LocalTenant = {
  readonly tenant: string;
  /** Of its subscriptions that have containers here. */
  readonly aliases: ReadonlySet<string>;
  /** All of the tenant's, wherever they run. */
  readonly services: readonly Service[];
};

/** What containers of one tenant may reach of their own tenant's. */
export function planTenant(local: LocalTenant, list: Listing): NftObjects {
  const { tenant, aliases, services } = local;
  const book = createBook([virtualPorts]);
  addReach(book, `tenant.${tenant}`);
  for (const alias of aliases) addSource(book, { tenant, own: ownName(tenant, alias) });
  for (const service of services) {
    const reaches = listReaches(service, aliases);
    if (reaches.length > 0) noteReaches(book, service, { list, reaches });
  }
  return book;
}

function addReach(book: Book, name: string): void {
  book.add(`inet ${name}`, "set", DESTINATION);
  book.add(`inet ${name6(name)}`, "set", DESTINATION6);
}

function addSource(book: Book, { tenant, own }: { tenant: string; own: string }): void {
  addReach(book, `alias.${own}`);
  const names = [`tenant.${tenant}`, `alias.${own}`];
  book.chain(`from.${own}`, [
    ...names.map((name) => `ip daddr . meta l4proto . th dport @${name} accept`),
    ...names.map((name) => `ip6 daddr . meta l4proto . th dport @${name6(name)} accept`),
    "goto known",
  ]);
}

/** The sets of who of its tenant may reach it, of those that are here. Processes of one subscription reach each other in
 * any case. */
function listReaches(
  { tenant, alias, access }: Service,
  aliases: ReadonlySet<string>,
): readonly string[] {
  if (access.kind === "everyone") return [];
  if (access.kind === "tenant") return [`tenant.${tenant}`];
  return [...new Set([alias, ...access.aliases])]
    .filter((name) => aliases.has(name))
    .map((name) => `alias.${ownName(tenant, name)}`);
}

function noteReaches(
  book: Book,
  service: Service,
  { list, reaches }: { readonly list: Listing; readonly reaches: readonly string[] },
): void {
  const destinations = list(service);
  for (const { address, protocol, number, address6 } of destinations) {
    const rest = `${protocol} . ${number}`;
    for (const name of reaches) {
      book.put(`inet ${name}`, `${address} . ${rest}`);
      if (address6 !== undefined) book.put(`inet ${name6(name)}`, `${address6} . ${rest}`);
    }
  }
  for (const port of service.ports) noteVirtualPort(book, { service, port, destinations });
}

function noteVirtualPort(
  book: Book,
  options: {
    readonly service: Service;
    readonly port: Service["ports"][number];
    readonly destinations: readonly Destination[];
  },
): void {
  const { service, port, destinations } = options;
  const ready = destinations.filter((found) => found.isReady && found.port === port.name);
  if (ready.length === 0) return;
  const chain = `to.${service.tenant}.${service.alias}.${port.name}`;
  const choices = ready.map(({ address, number }, index) => `${index} : ${address} . ${number}`);
  const choice = `numgen random mod ${choices.length} map { ${choices.join(", ")} }`;
  book.chain(chain, [`meta l4proto ${port.protocol} dnat ip to ${choice}`]);
  const key = `${service.address} . ${port.protocol} . ${port.containerPort}`;
  book.put(VIRTUAL_PORTS, key, `goto ${chain}`);
}

/** The set of the same meaning for IPv6. */
function name6(name: string): string {
  return name === "open" ? "open6" : `six.${name}`;
}

function ownName(tenant: string, alias: string): string {
  return `${tenant}.${plain(alias)}`;
}

/** Aliases of jobs have characters that no name in nft may have. */
function plain(alias: string): string {
  return alias.replaceAll(/[^a-z0-9-]/g, (letter) => `_${letter.codePointAt(0)?.toString(16)}_`);
}
