import type { Service } from "@strata/protocol/agent/network";

import type { PortRange } from "../config.ts";
import { type Destination, listDestinations } from "./endpoints.ts";
import type { NftObjects, NftSet } from "./nft-objects.ts";
import type { ContainerNetwork } from "./ruleset.ts";
import { containerAddress, gatewayAddress } from "./subnet.ts";
import { containerAddress6 } from "./subnet6.ts";
import { isReachable, type LocalContainer, type NetworkView } from "./view.ts";

export type PolicyNetwork = ContainerNetwork & { readonly hostPorts: PortRange };

/** All that decides who of this node's containers reaches whom. */
export type PolicyInput = {
  readonly view: NetworkView;
  readonly containers: Iterable<LocalContainer>;
  /** Where the node's own name server listens at the bridge's address; undefined without one. */
  readonly resolverPort: number | undefined;
};

const DESTINATION = "ipv4_addr . inet_proto . inet_service";
const DESTINATION6 = "ipv6_addr . inet_proto . inet_service";

/** The changing half of the node's rules; `ruleset.ts` has the standing half, which asks these sets. A question costs a
 * packet the same however many services there are: every decision is one element of a set. Pure.
 *
 * - `sources` leads a container's packets to the chain of its subscription, which accepts what its tenant (`tenant.T`)
 *   and it alone (`alias.T.A`) may reach. A container that is in no set reaches no other.
 * - `services` leads a virtual address to a chain that picks one of the processes that are ready. */
export function planObjects(network: PolicyNetwork, input: PolicyInput): NftObjects {
  const book = createBook();
  for (const name of standingSets) book.add(...name);
  const locals = noteContainers(book, network, input.containers);
  const { view, resolverPort } = input;
  for (const service of view.services.values())
    noteService(book, { network, service, view, locals });
  for (const { address } of view.nodes) {
    if (isReachable(address)) book.put("inet nodes", address);
  }
  for (const port of view.ingressPorts) book.put("inet ingress", String(port));
  if (resolverPort !== undefined) {
    for (const protocol of ["tcp", "udp"]) {
      const value = `${gatewayAddress(network.subnet)} . ${resolverPort}`;
      book.put("inet resolver", `${protocol} . 53`, value);
    }
  }
  return book;
}

const standingSets: readonly (readonly [name: string, kind: NftSet["kind"], type: string])[] = [
  ["inet ports", "map", "inet_proto . inet_service : ipv4_addr . inet_service"],
  ["inet ports6", "map", "inet_proto . inet_service : ipv6_addr . inet_service"],
  ["inet resolver", "map", "inet_proto . inet_service : ipv4_addr . inet_service"],
  ["inet services", "map", `${DESTINATION} : verdict`],
  ["inet sources", "map", "ipv4_addr : verdict"],
  ["inet sources6", "map", "ipv6_addr : verdict"],
  ["inet open", "set", DESTINATION],
  ["inet open6", "set", DESTINATION6],
  ["inet virtual", "set", "ipv4_addr"],
  ["inet nodes", "set", "ipv4_addr"],
  ["inet published", "set", DESTINATION],
  ["inet ingress", "set", "inet_service"],
  ["bridge own", "set", "ifname . ipv4_addr"],
  ["bridge own6", "set", "ifname . ipv6_addr"],
];

type Book = NftObjects & {
  readonly add: (name: string, kind: NftSet["kind"], type: string) => void;
  readonly put: (name: string, key: string, value?: string) => void;
  readonly chain: (name: string, rules: readonly string[]) => void;
};

function createBook(): Book {
  const sets = new Map<string, NftSet & { readonly elements: Map<string, string> }>();
  const chains = new Map<string, readonly string[]>();
  return {
    sets,
    chains,
    add: (name, kind, type) => void sets.set(name, { kind, type, elements: new Map() }),
    put: (name, key, value = "") => void sets.get(name)?.elements.set(key, value),
    chain: (name, rules) => void chains.set(name, rules),
  };
}

type Locals = {
  readonly tenants: ReadonlySet<string>;
  /** `TENANT.ALIAS` of every subscription with a container here. */
  readonly subscriptions: ReadonlySet<string>;
};

function noteContainers(
  book: Book,
  network: PolicyNetwork,
  containers: Iterable<LocalContainer>,
): Locals {
  const { bridge, subnet, subnet6 } = network;
  const tenants = new Set<string>();
  const subscriptions = new Set<string>();
  for (const { slot, tenant, alias, ports } of containers) {
    const own = `${tenant}.${plain(alias)}`;
    if (!tenants.has(tenant)) addReach(book, `tenant.${tenant}`);
    tenants.add(tenant);
    if (!subscriptions.has(own)) addSource(book, { tenant, own });
    subscriptions.add(own);
    const address = containerAddress(subnet, slot);
    const wire = `"${bridge}v${slot}"`;
    book.put("bridge own", `${wire} . ${address}`);
    book.put("inet sources", address, `goto from.${own}`);
    const address6 = subnet6 && containerAddress6(subnet6, slot);
    if (address6 !== undefined) {
      book.put("bridge own6", `${wire} . ${address6}`);
      book.put("inet sources6", address6, `goto from.${own}`);
    }
    for (const { protocol, hostPort, containerPort } of ports) {
      const key = `${protocol} . ${hostPort}`;
      book.put("inet ports", key, `${address} . ${containerPort}`);
      if (address6 !== undefined) book.put("inet ports6", key, `${address6} . ${containerPort}`);
    }
  }
  return { tenants, subscriptions };
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

type NotedService = {
  readonly network: PolicyNetwork;
  readonly service: Service;
  readonly view: NetworkView;
  readonly locals: Locals;
};

function noteService(book: Book, noted: NotedService): void {
  const { network, service, view } = noted;
  book.put("inet virtual", service.address);
  const destinations = listDestinations(network, service, view.nodeId);
  notePublished(book, noted, destinations);
  const reaches = listReaches(noted);
  if (reaches.length === 0) return;
  for (const { address, protocol, number, address6 } of destinations) {
    const rest = `${protocol} . ${number}`;
    for (const name of reaches) {
      book.put(`inet ${name}`, `${address} . ${rest}`);
      if (address6 !== undefined) book.put(`inet ${name6(name)}`, `${address6} . ${rest}`);
    }
  }
  for (const port of service.ports) noteVirtualPort(book, { service, port, destinations });
}

/** Ports of other nodes that the range of published ports does not tell. */
function notePublished(
  book: Book,
  { network: { hostPorts }, service, view }: NotedService,
  destinations: readonly Destination[],
): void {
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

/** The sets of who may reach it of those that are here. Processes of one subscription reach each other in any case. */
function listReaches({ service, locals }: NotedService): readonly string[] {
  const { tenant, alias, access } = service;
  if (access.kind === "everyone") return ["open"];
  if (!locals.tenants.has(tenant)) return [];
  if (access.kind === "tenant") return [`tenant.${tenant}`];
  return [...new Set([alias, ...access.aliases])]
    .map((name) => `${tenant}.${plain(name)}`)
    .filter((own) => locals.subscriptions.has(own))
    .map((own) => `alias.${own}`);
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
  book.put("inet services", key, `goto ${chain}`);
}

/** The set of the same meaning for IPv6. */
function name6(name: string): string {
  return name === "open" ? "open6" : `six.${name}`;
}

/** Aliases of jobs have characters that no name in nft may have. */
function plain(alias: string): string {
  return alias.replaceAll(/[^a-z0-9-]/g, (letter) => `_${letter.codePointAt(0)?.toString(16)}_`);
}
