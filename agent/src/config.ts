import { join } from "node:path";

import { type ImageLimits, parseImageLimits } from "./image/image-limits.ts";
import { type IngressSettings, parseIngressSettings } from "./ingress/ingress-settings.ts";
import { parseSubnet, type Subnet } from "./network/subnet.ts";
import { parseSubnet6, type Subnet6 } from "./network/subnet6.ts";
import { type Environment, invalid, parseCount } from "./parse-setting.ts";

/** Every setting of the agent. Values come from the environment; `parseConfig` says name, default and limit of each. */
export type AgentConfig = {
  /** The agent's own part of STRATA_DATA. */
  readonly dataDirectory: string;
  /** The agent's own part of STRATA_RUN. */
  readonly runDirectory: string;
  readonly bridge: string;
  readonly subnet: Subnet;
  /** Undefined: containers have no IPv6. */
  readonly subnet6: Subnet6 | undefined;
  readonly hostPorts: PortRange;
  readonly idBase: number;
  readonly startsMax: number;
  readonly startTimeoutMs: number;
  readonly logBytesMax: number;
  readonly logAgeMsMax: number;
  readonly deltas: DeltaMode;
  readonly logLevel: string;
  readonly disk: DiskLimits;
  readonly images: ImageLimits;
  /** Bytes of compressed layers kept for other nodes and for deltas; 0 keeps nothing. */
  readonly blobCacheBytesMax: number;
  /** Where other nodes fetch images; 0 serves none. */
  readonly peerPort: number;
  readonly peerBytesPerSecond: number;
  readonly ingress: IngressSettings;
};

const deltaModes = ["auto", "always", "off"] as const;
/** Whether layers come as their difference from older ones; `auto`: where the line to the store has proved slow. */
export type DeltaMode = (typeof deltaModes)[number];

/** When images that nothing runs are deleted. */
export type DiskLimits = {
  /** Share of the disk, 0 to 1, above which they go until it is below `lowShare`. */
  readonly highShare: number;
  readonly lowShare: number;
  /** One that was not used for so long goes however much room there is; 0 keeps it. */
  readonly keepMs: number;
};

export type PortRange = { readonly first: number; readonly last: number };

/** User and group ids that one container has. */
export const ID_RANGE_SIZE = 65_536;
/** The kernel's limit for an interface name is 15; `v` and five digits for a container's end of the wire. */
const BRIDGE_NAME = /^[a-z][a-z0-9-]{0,8}$/;

/** STRATA_DATA        where state is kept [/var/lib/strata]; the agent uses its folder `agent`
 * STRATA_RUN          files that a reboot may drop [/run/strata; when STRATA_DATA is set: its folder `run`]
 * STRATA_BRIDGE       name of the bridge and of the nft table, at most 9 characters [strata0]
 * STRATA_SUBNET       addresses of the containers, /8 to /24; the first one is the bridge's [10.77.0.0/16]
 * STRATA_SUBNET6      their IPv6 addresses, a /64, or off [fd73:7472:XXXX:XXXX::/64 with the numbers of STRATA_SUBNET]
 * STRATA_HOST_PORTS   range of the ports that are published without a wish [20000-29999]
 * STRATA_ID_BASE      first host user id of the containers, 65536 or more [1073741824]
 * STRATA_STARTS_MAX   containers that start at the same time, 1 to 64 [8]
 * STRATA_START_TIMEOUT_S  a container must run by then, 1 to 600 seconds [30]
 * STRATA_LOG_MAX_MIB  output kept of each process, 1 to 10240 MiB [16]
 * STRATA_BLOB_CACHE_MIB  compressed layers kept for other nodes and for deltas, 0 (nothing) to 1048576 MiB [4096]
 * STRATA_LOG_MAX_DAYS output older than this goes, 1 to 3650 days [14]
 * STRATA_DELTAS       layers by their difference: auto where the store is slow, always or off [auto]
 * STRATA_PEER_PORT    where other nodes of the partition fetch images, 0 (serves none) to 65535 [7075]
 * STRATA_PEER_RATE_MIB  what they get together, 1 to 100000 MiB a second [512]
 * STRATA_DISK_HIGH    per cent of the disk of the data in use above which images that nothing runs are deleted [85]
 * STRATA_DISK_LOW     and below which that ends; less than STRATA_DISK_HIGH [75]
 * STRATA_IMAGE_KEEP_DAYS  an image that nothing ran for so long is deleted however much room there is; 0 never [30]
 * What images may cost is read by `parseImageLimits`, how an ingress serves by `parseIngressSettings`.
 * STRATA_LOG_LEVEL    of the agent's own log: debug, info, warn, error or silent [info]
 * @throws AgentError CONFIG_INVALID */
export function parseConfig(environment: Environment): AgentConfig {
  const data = environment.STRATA_DATA ?? "/var/lib/strata";
  const run =
    environment.STRATA_RUN ??
    (environment.STRATA_DATA === undefined ? "/run/strata" : join(data, "run"));
  const subnet = parseSubnet(environment.STRATA_SUBNET ?? "10.77.0.0/16");
  const config: AgentConfig = {
    dataDirectory: parsePath("STRATA_DATA", join(data, "agent")),
    runDirectory: parsePath("STRATA_RUN", join(run, "agent")),
    bridge: parseText(environment, "STRATA_BRIDGE", { fallback: "strata0", grammar: BRIDGE_NAME }),
    subnet,
    subnet6: parseSubnet6(environment.STRATA_SUBNET6, subnet),
    hostPorts: parsePortRange(environment.STRATA_HOST_PORTS ?? "20000-29999"),
    idBase: parseCount(environment, "STRATA_ID_BASE", {
      fallback: 1_073_741_824,
      min: ID_RANGE_SIZE,
      max: 3_000_000_000,
    }),
    startsMax: parseCount(environment, "STRATA_STARTS_MAX", { fallback: 8, min: 1, max: 64 }),
    startTimeoutMs:
      1000 * parseCount(environment, "STRATA_START_TIMEOUT_S", { fallback: 30, min: 1, max: 600 }),
    logBytesMax:
      1024 ** 2 *
      parseCount(environment, "STRATA_LOG_MAX_MIB", { fallback: 16, min: 1, max: 10_240 }),
    logAgeMsMax:
      24 *
      3_600_000 *
      parseCount(environment, "STRATA_LOG_MAX_DAYS", { fallback: 14, min: 1, max: 3650 }),
    deltas: parseDeltaMode(environment),
    disk: parseDiskLimits(environment),
    images: parseImageLimits(environment),
    ingress: parseIngressSettings(environment),
    logLevel: parseText(environment, "STRATA_LOG_LEVEL", {
      fallback: "info",
      grammar: /^(debug|info|warn|error|silent)$/,
    }),
    peerPort: parseCount(environment, "STRATA_PEER_PORT", { fallback: 7075, min: 0, max: 65_535 }),
    peerBytesPerSecond:
      1024 ** 2 *
      parseCount(environment, "STRATA_PEER_RATE_MIB", { fallback: 512, min: 1, max: 100_000 }),
    blobCacheBytesMax:
      1024 ** 2 *
      parseCount(environment, "STRATA_BLOB_CACHE_MIB", { fallback: 4096, min: 0, max: 1_048_576 }),
  };
  return config;
}

const DAY_MS = 24 * 3_600_000;

function parseDiskLimits(environment: Environment): DiskLimits {
  const high = parseCount(environment, "STRATA_DISK_HIGH", { fallback: 85, min: 2, max: 99 });
  const low = parseCount(environment, "STRATA_DISK_LOW", {
    fallback: Math.min(75, high - 1),
    min: 1,
    max: 98,
  });
  if (low >= high) {
    throw invalid("STRATA_DISK_LOW", String(low), `give less than STRATA_DISK_HIGH, ${high}`);
  }
  const rule = { fallback: 30, min: 0, max: 36_500 };
  const keepDays = parseCount(environment, "STRATA_IMAGE_KEEP_DAYS", rule);
  return { highShare: high / 100, lowShare: low / 100, keepMs: keepDays * DAY_MS };
}

function parsePath(name: string, path: string): string {
  // Paths reach LXC's configuration and line-based files.
  if (/^\/[\x21-\x7e]*$/.test(path) && path.length <= 200) return path;
  throw invalid(name, path, "give an absolute path of at most 200 characters without spaces");
}

function parseText(
  environment: Environment,
  name: string,
  { fallback, grammar }: { readonly fallback: string; readonly grammar: RegExp },
): string {
  const text = environment[name] ?? fallback;
  if (grammar.test(text)) return text;
  throw invalid(name, text, `it must match ${grammar.source}`);
}

function parseDeltaMode({ STRATA_DELTAS: text = "auto" }: Environment): DeltaMode {
  const mode = deltaModes.find((name) => name === text);
  if (mode !== undefined) return mode;
  throw invalid("STRATA_DELTAS", text, `use ${deltaModes.join(", ")}`);
}

function parsePortRange(text: string): PortRange {
  const match = /^(\d{1,5})-(\d{1,5})$/.exec(text);
  const [first, last] = [Number(match?.[1]), Number(match?.[2])];
  if (match !== null && first >= 1024 && first <= last && last <= 65_535) return { first, last };
  throw invalid("STRATA_HOST_PORTS", text, "give FIRST-LAST within 1024-65535");
}
