import type { PortRange } from "../config.ts";
import { type NftObjects, renderObjects } from "./nft-objects.ts";
import { formatSubnet, gatewayAddress, type Subnet } from "./subnet.ts";
import { formatSubnet6, type Subnet6 } from "./subnet6.ts";

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

/** Where virtual addresses of subscriptions are unless the controller is told otherwise (RFC 2544 keeps it free). */
const VIRTUAL = "198.18.0.0/15";

export type Ruleset = {
  readonly objects: NftObjects;
  /** Of the bridge itself. */
  readonly mac: string;
  readonly hostPorts: PortRange;
};

/** Everything that the agent asks of nftables, as one atomic replacement of its own tables, which have the bridge's name.
 * What changes while containers run is in sets (`policy.ts`), so thousands cost a packet no more than one.
 *
 * - Published ports are reachable from outside (prerouting), from the host, its 127.0.0.1 included (output; the kernel
 *   routes nothing out that comes from ::1), and from containers that may reach them (hairpin: the answer must come back
 *   through the bridge, hence the masquerade). Nothing else of a container is reachable from outside.
 * - Containers send from their own addresses alone. They reach the world, the ports of other containers that their
 *   tenant or those containers allow, on this node and on others, a name server on the host and an ingress, but no other
 *   port of the host itself: not the controller, not ssh.
 * - The cloud's metadata is cut off before anybody redirects it (guard), wherever it is; its name server is not. What a
 *   client there began may be answered.
 * - On the bridge a container talks to the host alone (the table of the family bridge): what it sends to others goes
 *   through the host's own rules, where connections are known. */
export function renderRuleset(network: ContainerNetwork, ruleset: Ruleset): string {
  const { bridge } = network;
  const { objects } = ruleset;
  return `${removeTables(bridge)}
table inet ${bridge} {
  ${renderObjects(objects, "inet")}
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
  ${renderPolicy(network, ruleset)}
  ${renderTranslations(network)}
}
table bridge ${bridge} {
  ${renderObjects(objects, "bridge")}
  ${renderBridge(network, ruleset)}
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
    iifname "${bridge}" goto leaving
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
    meta l4proto { tcp, udp } ct original proto-dst 53 accept
    tcp dport @ingress accept
    drop
  }
  chain hints {
    type filter hook output priority filter; policy accept;
    oifname "${bridge}" icmp type redirect drop
    oifname "${bridge}" icmpv6 type nd-redirect drop
  }`;
}

const DENIED = "reject with icmpx admin-prohibited";

/** What a container sends on: `sources` leads to what its subscription may reach. A refusal is told at once, so that no
 * client waits for it, and for TCP by a reset, for the kernel sends few messages of ICMP. Where the destination was
 * translated it is ICMP all the same: br_netfilter would send a reset that is not translated back. */
function renderPolicy({ bridge }: ContainerNetwork, { hostPorts }: Ruleset): string {
  const refuse = (match: string): string =>
    `${match} meta l4proto tcp reject with tcp reset\n    ${match} ${DENIED}`;
  const range = `${hostPorts.first}-${hostPorts.last}`;
  return `chain leaving {
    ct state established,related accept
    ip saddr vmap @sources
    ip6 saddr vmap @sources6
    goto closed
  }
  chain known {
    ip daddr . meta l4proto . th dport @open accept
    ip6 daddr . meta l4proto . th dport @open6 accept
    goto closed
  }
  chain closed {
    oifname "${bridge}" ct status dnat ${DENIED}
    ip daddr @nodes ct status dnat ${DENIED}
    ${refuse(`oifname "${bridge}"`)}
    ${refuse(`ip daddr @nodes meta l4proto { tcp, udp } th dport ${range}`)}
    ${refuse("ip daddr . meta l4proto . th dport @published")}
  }
  chain unserved {
    type filter hook prerouting priority -90; policy accept;
    iifname != "${bridge}" accept
    ${refuse("ip daddr @virtual")}
    ${refuse(`ip daddr ${VIRTUAL}`)}
  }`;
}

/** Frames of containers. They go to the bridge itself, or ask everybody for its address; none is passed on to another
 * container, but for what the host has redirected there (br_netfilter does that without leaving the bridge). */
function renderBridge({ bridge }: ContainerNetwork, { mac }: Ruleset): string {
  const many = "ether daddr & 01:00:00:00:00:00";
  return `chain prerouting {
    type filter hook prerouting priority -300; policy accept;
    iifname != "${bridge}v*" accept
    ${many} == 00:00:00:00:00:00 ether daddr != ${mac} drop
    ether type ip iifname . ip saddr @own accept
    ether type arp iifname . arp saddr ip @own accept
    ether type ip6 ip6 saddr { fe80::/10, :: } accept
    ether type ip6 iifname . ip6 saddr @own6 accept
    drop
  }
  chain forward {
    type filter hook forward priority -200; policy accept;
    iifname "${bridge}v*" oifname "${bridge}v*" ${many} != 00:00:00:00:00:00 drop
  }`;
}

function renderTranslations({ bridge, subnet, subnet6 }: ContainerNetwork): string {
  const own = formatSubnet(subnet);
  const own6 = subnet6 === undefined ? undefined : formatSubnet6(subnet6);
  const publish = "fib daddr type local dnat ip to meta l4proto . th dport map @ports";
  const publish6 = "fib daddr type local dnat ip6 to meta l4proto . th dport map @ports6";
  return `chain prerouting {
    type nat hook prerouting priority dstnat; policy accept;
    iifname "${bridge}" ip daddr . meta l4proto . th dport vmap @services
    iifname "${bridge}" ip daddr ${gatewayAddress(subnet)} dnat ip to meta l4proto . th dport map @resolver
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
  return ["ip", "inet", "bridge"]
    .map((family) => `table ${family} ${bridge}\ndelete table ${family} ${bridge}\n`)
    .join("");
}
