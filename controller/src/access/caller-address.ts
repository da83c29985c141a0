/** From where somebody asks. A header is believed only when a proxy that was named in the settings sent it. */
import { BlockList, isIPv4, isIPv6 } from "node:net";

/** Set by proxies: RFC 7239 has a successor that few of them speak. */
export const FORWARDED_HEADER = "x-forwarded-for";

/** Addresses and ranges such as `10.0.0.0/8`; undefined when one of them is neither. */
export function readAddressRanges(texts: readonly string[]): BlockList | undefined {
  const list = new BlockList();
  for (const text of texts) {
    const [address = "", prefix] = text.split("/");
    const family = familyOf(address);
    if (family === undefined) return undefined;
    const bits = prefix === undefined ? widthOf(family) : Number(prefix);
    if (!/^\d{1,3}$/.test(prefix ?? "0") || bits > widthOf(family)) return undefined;
    list.addSubnet(address, bits, family);
  }
  return list;
}

/** The address of the peer, or, where that is a trusted proxy, the last one in the header that is none. Empty when
 * nobody knows. */
export function callerAddress(
  {
    peer,
    forwarded,
  }: { readonly peer: string | undefined; readonly forwarded: string | undefined },
  trusted: BlockList,
): string {
  const hops = [...(forwarded ?? "").split(",").map((hop) => plain(hop.trim())), plain(peer ?? "")];
  let address = "";
  for (const hop of hops.toReversed()) {
    const family = familyOf(hop);
    // What is no address was not written by a proxy of ours: the one that passed it on is all that is known.
    if (family === undefined) return address;
    address = hop;
    if (!trusted.check(hop, family)) return address;
  }
  return address;
}

/** What attempts are counted by: of IPv6 the network of 64 bits, of which everybody has more addresses than we count. */
export function networkOf(address: string): string {
  if (!isIPv6(address)) return address;
  const [head = "", tail] = address.split("::");
  const groups = head.split(":").filter((group) => group !== "");
  const rest = (tail ?? "").split(":").filter((group) => group !== "");
  const zeros = Array.from({ length: Math.max(0, 8 - groups.length - rest.length) }, () => "0");
  const whole = tail === undefined ? groups : [...groups, ...zeros, ...rest];
  return `${whole.slice(0, 4).join(":")}::/64`;
}

function plain(address: string): string {
  return address.replace(/^::ffff:(?=\d+\.)/i, "").replace(/%.*$/, "");
}

function familyOf(address: string): "ipv4" | "ipv6" | undefined {
  if (isIPv4(address)) return "ipv4";
  return isIPv6(address) ? "ipv6" : undefined;
}

function widthOf(family: "ipv4" | "ipv6"): number {
  return family === "ipv4" ? 32 : 128;
}
