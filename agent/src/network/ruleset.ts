import { formatSubnet, type Subnet } from "./subnet.ts";

/** A port of a container, published on the node. */
export type PublishedPort = {
  readonly protocol: "tcp" | "udp";
  readonly hostPort: number;
  readonly address: string;
  readonly containerPort: number;
};

/** Everything that the agent asks of nftables, as one atomic replacement of its own table. A published port is one
 * element of the map, so thousands cost a packet no more than one. The table has the bridge's name.
 *
 * - Published ports are reachable from outside (prerouting), from the host, loopback included (output), and from the
 *   containers themselves (hairpin: the answer must come back through the bridge, hence the masquerade).
 * - Containers reach each other, the world and a name server on the host, but no other port of the host itself: not
 *   the controller, not ssh, and not the cloud's metadata service, which hands out credentials of the VM. */
export function renderRuleset(
  bridge: string,
  subnet: Subnet,
  ports: readonly PublishedPort[],
): string {
  const elements = ports.map(renderElement).join(", ");
  return `table ip ${bridge}
delete table ip ${bridge}
table ip ${bridge} {
  map ports {
    type inet_proto . inet_service : ipv4_addr . inet_service
    ${elements === "" ? "" : `elements = { ${elements} }`}
  }
  chain prerouting {
    type nat hook prerouting priority dstnat; policy accept;
    fib daddr type local dnat ip to meta l4proto . th dport map @ports
  }
  chain output {
    type nat hook output priority -100; policy accept;
    fib daddr type local dnat ip to meta l4proto . th dport map @ports
  }
  chain postrouting {
    type nat hook postrouting priority srcnat; policy accept;
    ip saddr ${formatSubnet(subnet)} oifname != "${bridge}" masquerade
    oifname "${bridge}" ct status dnat ip saddr { 127.0.0.0/8, ${formatSubnet(subnet)} } masquerade
  }
  chain forward {
    type filter hook forward priority filter; policy accept;
    iifname "${bridge}" ip daddr 169.254.0.0/16 drop
  }
  chain input {
    type filter hook input priority filter; policy accept;
    iifname != "${bridge}" accept
    ct state established,related accept
    icmp type echo-request accept
    meta l4proto { tcp, udp } th dport 53 accept
    drop
  }
}
`;
}

export function renderElement(port: PublishedPort): string {
  return `${port.protocol} . ${port.hostPort} : ${port.address} . ${port.containerPort}`;
}
