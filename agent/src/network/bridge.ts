import { existsSync, readdirSync, readFileSync, writeFileSync } from "node:fs";

import { runTool } from "../host/run-tool.ts";
import type { ContainerNetwork } from "./ruleset.ts";
import { gatewayAddress } from "./subnet.ts";
import { gatewayAddress6 } from "./subnet6.ts";

/** Shows the network namespace of whoever opens it, so all of this works inside one as well. */
const SETTINGS = "/proc/sys/net";

/** False without the kernel's module, and where the operator has switched IPv6 off. */
export function hasIpv6(): boolean {
  const path = `${SETTINGS}/ipv6/conf/all/disable_ipv6`;
  return existsSync(path) && readFileSync(path, "utf8").trim() === "0";
}

/** The bridge asks which container listens to what, and sends multicast to those alone. Every container that starts says
 * a dozen such packets, for IPv6 above all: sent to all, they cost more with each one that runs. */
const multicast = [
  "mcast_snooping",
  "1",
  "mcast_querier",
  "1",
  "mcast_query_response_interval",
  "100",
];

/** Makes the bridge with its addresses whatever is there, and the host a router. Safe to repeat. Its MAC address. */
export async function makeBridge({ bridge, subnet, subnet6 }: ContainerNetwork): Promise<string> {
  const show = await runTool("ip", ["link", "show", "dev", bridge], { okCodes: [0, 1] });
  if (show.code !== 0) await runTool("ip", ["link", "add", "name", bridge, "type", "bridge"]);
  const mac = await keepMac(bridge);
  await runTool("ip", ["link", "set", bridge, "type", "bridge", ...multicast]);
  const address = `${gatewayAddress(subnet)}/${subnet.prefix}`;
  await runTool("ip", ["address", "replace", address, "dev", bridge]);
  if (subnet6 !== undefined) {
    set(`ipv6/conf/${bridge}/disable_ipv6`, "0");
    set(`ipv6/conf/${bridge}/accept_ra`, "0");
    // Nobody else has it, and the first container need not wait for the kernel to find out.
    const address6 = `${gatewayAddress6(subnet6)}/64`;
    await runTool("ip", ["-6", "address", "replace", address6, "dev", bridge, "nodad"]);
    routeIpv6();
  }
  await runTool("ip", ["link", "set", bridge, "up"]);
  set("ipv4/ip_forward", "1");
  // Lets a connection to 127.0.0.1:PORT leave through the bridge; the guard chain keeps containers off 127.0.0.0/8.
  set(`ipv4/conf/${bridge}/route_localnet`, "1");
  // For containers that were started when they still had neighbours: they ask for those, and get the host.
  set(`ipv4/conf/${bridge}/proxy_arp_pvlan`, "1");
  // A container has no neighbours that it could be pointed to. One switch for all interfaces counts as well as each one's.
  for (const name of ["all", bridge]) set(`ipv4/conf/${name}/send_redirects`, "0");
  return mac;
}

/** Unless it was given one, a bridge has the lowest address of what is plugged in, and another with each container. */
async function keepMac(bridge: string): Promise<string> {
  const { stdout } = await runTool("ip", ["link", "show", "dev", bridge]);
  const mac = /link\/ether ([0-9a-f:]{17}) /.exec(stdout)?.[1];
  if (mac === undefined) throw new Error(`${bridge} is no bridge`);
  await runTool("ip", ["link", "set", "dev", bridge, "address", mac]);
  return mac;
}

/** A router does not listen to other routers, unless told so (2): a host that has its own address and routes by their
 * advertisements goes on listening, or it would lose them within the hour. */
function routeIpv6(): void {
  if (get("ipv6/conf/all/forwarding") === "1") return;
  for (const name of readdirSync(`${SETTINGS}/ipv6/conf`)) {
    if (name === "all" || name === "default") continue;
    if (get(`ipv6/conf/${name}/accept_ra`) === "1") set(`ipv6/conf/${name}/accept_ra`, "2");
  }
  set("ipv6/conf/all/forwarding", "1");
}

function get(name: string): string {
  return readFileSync(`${SETTINGS}/${name}`, "utf8").trim();
}

/** Writes only what differs: the file may be read-only where the machine is a container itself. */
function set(name: string, value: string): void {
  if (get(name) !== value) writeFileSync(`${SETTINGS}/${name}`, value);
}
