import { formatSubnet, type Subnet } from "./subnet.ts";
import { formatSubnet6, type Subnet6 } from "./subnet6.ts";

/** A port of a container, published on the node. */
export type PublishedPort = {
  readonly protocol: "tcp" | "udp";
  readonly hostPort: number;
  readonly address: string;
  /** Where containers have IPv6. */
  readonly address6: string | undefined;
  readonly containerPort: number;
};

/** Whose containers: the bridge that they are on, and their addresses. */
export type ContainerNetwork = {
  readonly bridge: string;
  readonly subnet: Subnet;
  /** Undefined: without IPv6. */
  readonly subnet6: Subnet6 | undefined;
};

/** Where clouds hand out credentials of the machine to whoever asks on it: all of them at 169.254.169.254, Alibaba,
 * Azure and Oracle also elsewhere, Amazon and Google also over IPv6. */
const METADATA = "169.254.0.0/16, 100.100.100.200, 168.63.129.16, 192.0.0.192";
const METADATA6 = "fd00:ec2::254, fd20:ce::254";

/** Everything that the agent asks of nftables, as one atomic replacement of its own table. A published port is one
 * element of a map, so thousands cost a packet no more than one. The table has the bridge's name.
 *
 * - Published ports are reachable from outside (prerouting), from the host, its 127.0.0.1 included (output; the kernel
 *   routes nothing out that comes from ::1), and from the containers themselves (hairpin: the answer must come back
 *   through the bridge, hence the masquerade). Nothing else of a container is reachable from outside.
 * - Containers send from their own addresses alone. They reach each other, the world and a name server on the host, but
 *   no other port of the host itself: not the controller, not ssh.
 * - The cloud's metadata is cut off before anybody redirects it (guard), wherever it is; its name server is not. What a
 *   client there began may be answered. */
export function renderRuleset(network: ContainerNetwork, ports: readonly PublishedPort[]): string {
  const { bridge } = network;
  return `${removeTables(bridge)}
table inet ${bridge} {
  map ports {
    type inet_proto . inet_service : ipv4_addr . inet_service
    ${renderElements(ports.map(renderElement))}
  }
  map ports6 {
    type inet_proto . inet_service : ipv6_addr . inet_service
    ${renderElements(ports.flatMap((port) => renderElement6(port) ?? []))}
  }
  set metadata {
    type ipv4_addr
    flags interval
    elements = { ${METADATA} }
  }
  set metadata6 {
    type ipv6_addr
    elements = { ${METADATA6} }
  }
  ${renderFilters(network)}
  ${renderTranslations(network)}
}
`;
}

function renderFilters({ bridge, subnet, subnet6 }: ContainerNetwork): string {
  const sources6 = subnet6 === undefined ? "" : `{ ${formatSubnet6(subnet6)}, fe80::/10, :: }`;
  return `chain guard {
    type filter hook prerouting priority mangle; policy accept;
    iifname != "${bridge}" accept
    ip saddr != ${formatSubnet(subnet)} drop
    ip daddr 127.0.0.0/8 drop
    ${sources6 === "" ? "meta nfproto ipv6 drop" : `ip6 saddr != ${sources6} drop`}
    ct direction reply accept
    meta l4proto { tcp, udp } th dport 53 accept
    ip daddr @metadata drop
    ip6 daddr @metadata6 drop
  }
  chain forward {
    type filter hook forward priority filter; policy accept;
    iifname "${bridge}" accept
    oifname != "${bridge}" accept
    ct state established,related accept
    ct status dnat accept
    drop
  }
  chain input {
    type filter hook input priority filter; policy accept;
    iifname != "${bridge}" accept
    ct state established,related accept
    icmp type echo-request accept
    icmpv6 type { echo-request, nd-neighbor-solicit, nd-neighbor-advert } accept
    meta l4proto { tcp, udp } th dport 53 accept
    drop
  }`;
}

function renderTranslations({ bridge, subnet, subnet6 }: ContainerNetwork): string {
  const own = formatSubnet(subnet);
  const own6 = subnet6 === undefined ? undefined : formatSubnet6(subnet6);
  const publish = "fib daddr type local dnat ip to meta l4proto . th dport map @ports";
  const publish6 = "fib daddr type local dnat ip6 to meta l4proto . th dport map @ports6";
  return `chain prerouting {
    type nat hook prerouting priority dstnat; policy accept;
    ${publish}
    ${publish6}
  }
  chain output {
    type nat hook output priority -100; policy accept;
    ${publish}
    ip6 daddr != ::1 ${publish6}
  }
  chain postrouting {
    type nat hook postrouting priority srcnat; policy accept;
    ip saddr ${own} oifname != "${bridge}" masquerade
    oifname "${bridge}" ct status dnat ip saddr { 127.0.0.0/8, ${own} } masquerade
    ${own6 === undefined ? "" : `ip6 saddr ${own6} oifname != "${bridge}" masquerade`}
    ${own6 === undefined ? "" : `oifname "${bridge}" ct status dnat ip6 saddr ${own6} masquerade`}
  }`;
}

/** Earlier versions had a table of IPv4 alone. A table is named first, because only one that is there can be deleted. */
export function removeTables(bridge: string): string {
  return ["ip", "inet"]
    .map((family) => `table ${family} ${bridge}\ndelete table ${family} ${bridge}\n`)
    .join("");
}

/** Adds or deletes a port in all addresses that its container has: both or neither. */
export function renderChange(
  verb: "add" | "delete",
  { bridge }: ContainerNetwork,
  port: PublishedPort,
): string {
  const element6 = renderElement6(port);
  const change = `${verb} element inet ${bridge} ports { ${renderElement(port)} }\n`;
  return element6 === undefined
    ? change
    : `${change}${verb} element inet ${bridge} ports6 { ${element6} }\n`;
}

function renderElements(elements: readonly string[]): string {
  return elements.length === 0 ? "" : `elements = { ${elements.join(", ")} }`;
}

function renderElement({ protocol, hostPort, address, containerPort }: PublishedPort): string {
  return `${protocol} . ${hostPort} : ${address} . ${containerPort}`;
}

function renderElement6(port: PublishedPort): string | undefined {
  const { address6 } = port;
  return address6 === undefined ? undefined : renderElement({ ...port, address: address6 });
}
