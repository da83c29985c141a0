import { AgentError } from "../errors.ts";
import type { Subnet } from "./subnet.ts";

/** The first half of the addresses of an IPv6 network of /64, in the short form of RFC 5952 without its `::`. Address
 * one is the bridge's; container number `slot` has the one after the next. */
export type Subnet6 = { readonly groups: string };

/** One to four groups, then zeros: unique local or global addresses, never those of a link or of many. */
const NETWORK = /^([0-9a-f]{1,4}(?::[0-9a-f]{1,4}){0,3})::\/64$/;
const FIRST_GROUP = /^(f[cd][0-9a-f]{2}|[23][0-9a-f]{3})$/;

/** `off` means that containers have no IPv6; undefined, that they get unique local addresses that follow from those of
 * IPv4, so that installations that share a machine differ in both.
 * @throws AgentError CONFIG_INVALID */
export function parseSubnet6(text: string | undefined, subnet: Subnet): Subnet6 | undefined {
  if (text === "off") return undefined;
  if (text === undefined) return { groups: shorten(["fd73", "7472", ...groupsOf(subnet)]) };
  const [, groups = ""] = NETWORK.exec(text.toLowerCase()) ?? [];
  const parts = groups.split(":");
  if (FIRST_GROUP.test(parts[0] ?? "")) return { groups: shorten(parts) };
  throw new AgentError("CONFIG_INVALID", `${JSON.stringify(text)} is not an IPv6 network`, {
    hint: "set STRATA_SUBNET6 to the likes of fd73:7472:6174::/64, or to off",
  });
}

export function formatSubnet6({ groups }: Subnet6): string {
  return `${groups}::/64`;
}

export function gatewayAddress6({ groups }: Subnet6): string {
  return `${groups}::1`;
}

export function containerAddress6({ groups }: Subnet6, slot: number): string {
  return `${groups}::${(slot + 2).toString(16)}`;
}

function groupsOf({ network }: Subnet): readonly string[] {
  return [Math.floor(network / 2 ** 16), network % 2 ** 16].map((group) => group.toString(16));
}

function shorten(groups: readonly string[]): string {
  const short = groups.map((group) => Number.parseInt(group, 16).toString(16));
  const last = short.findLastIndex((group) => group !== "0");
  return short.slice(0, last + 1).join(":");
}
