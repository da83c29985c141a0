import { isIP } from "node:net";

import { type Environment, invalid, parseCount } from "../parse-setting.ts";

/** How this node serves as an ingress, once its partition or the node itself has that role. */
export type IngressSettings = {
  readonly httpPort: number;
  readonly httpsPort: number;
  /** Addresses to listen on. Empty: all of the node. */
  readonly bind: readonly string[];
  /** Addresses and networks of fronts whose connections begin with a header of the PROXY protocol. */
  readonly proxyFrom: readonly string[];
  /** At once, of clients. */
  readonly connectionsMax: number;
  /** Of the access log and the one before it together; 0 writes none. */
  readonly logBytesMax: number;
};

/** STRATA_INGRESS_HTTP   port of the ingress for HTTP, 1 to 65535 [8080]
 * STRATA_INGRESS_HTTPS  and for HTTPS [8443]
 * STRATA_INGRESS_BIND   IP addresses to listen on, with commas [all of the node]
 * STRATA_INGRESS_PROXY_FROM  IP addresses and networks, with commas, of fronts that speak the PROXY protocol: their
 *                     connections must begin with its header, and it says who the client is [none]
 * STRATA_INGRESS_CONNECTIONS  of clients at once, 100 to 1000000 [10000]
 * STRATA_INGRESS_LOG_MIB  access log kept, 0 (none) to 1048576 MiB [64]
 * @throws AgentError CONFIG_INVALID */
export function parseIngressSettings(environment: Environment): IngressSettings {
  const port = (name: string, fallback: number): number =>
    parseCount(environment, name, { fallback, min: 1, max: 65_535 });
  const settings = {
    httpPort: port("STRATA_INGRESS_HTTP", 8080),
    httpsPort: port("STRATA_INGRESS_HTTPS", 8443),
    bind: parseAddresses(environment, "STRATA_INGRESS_BIND", isAddress),
    proxyFrom: parseAddresses(environment, "STRATA_INGRESS_PROXY_FROM", isNetwork),
    connectionsMax: parseCount(environment, "STRATA_INGRESS_CONNECTIONS", {
      fallback: 10_000,
      min: 100,
      max: 1_000_000,
    }),
    logBytesMax:
      1024 ** 2 *
      parseCount(environment, "STRATA_INGRESS_LOG_MIB", { fallback: 64, min: 0, max: 1_048_576 }),
  };
  if (settings.httpPort === settings.httpsPort) {
    const text = String(settings.httpsPort);
    throw invalid("STRATA_INGRESS_HTTPS", text, "give another port than STRATA_INGRESS_HTTP");
  }
  return settings;
}

const ADDRESSES_MAX = 64;

function parseAddresses(
  environment: Environment,
  name: string,
  isFit: (text: string) => boolean,
): readonly string[] {
  const text = environment[name] ?? "";
  const addresses = text === "" ? [] : text.split(",").map((part) => part.trim());
  if (addresses.length <= ADDRESSES_MAX && addresses.every(isFit)) return addresses;
  throw invalid(name, text, `give at most ${ADDRESSES_MAX} of them, with commas`);
}

function isAddress(text: string): boolean {
  // A zone would have to be quoted.
  return isIP(text) !== 0 && !text.includes("%");
}

function isNetwork(text: string): boolean {
  const [address = "", prefix, ...more] = text.split("/");
  if (!isAddress(address) || more.length > 0) return false;
  if (prefix === undefined) return true;
  return /^\d{1,3}$/.test(prefix) && Number(prefix) <= (isIP(address) === 6 ? 128 : 32);
}
