import { type BlockList, isIP } from "node:net";
import { join } from "node:path";

import { Host } from "@strata/protocol/api/network";
import { parseDurationMs } from "@strata/protocol/units";
import { parseS3Location, type S3Location } from "@strata/registry/drivers/s3/location";
import type { MirrorRule } from "@strata/registry/mirror/rules";
import { readMirrors } from "@strata/registry/serve/config";

import { readAddressRanges } from "./access/caller-address.ts";
import { isTrustedUrl } from "./access/oidc-keys.ts";
import { readOidcRules } from "./access/oidc-rules.ts";
import type { OidcSettings } from "./access/oidc.ts";
import { parseServiceNetwork, type ServiceNetwork } from "./domain/network/service-address.ts";
import { ControllerError } from "./errors.ts";

/** Every setting, from the environment. Times in milliseconds. */
export type Config = {
  /** STRATA_DATA [/var/lib/strata]: everything that lasts. */
  readonly dataDirectory: string;
  /** STRATA_PORT [7070]: TLS on all addresses. 0 takes a free one. */
  readonly port: number;
  /** STRATA_TLS [on]: `off` serves plain HTTP alone, on `port`, for a proxy in front that does TLS. */
  readonly tls: boolean;
  /** STRATA_LISTEN [:: , all addresses]: where the main listener listens. */
  readonly listenAddress: string | undefined;
  /** STRATA_PLAIN_PORT [port + 1]: plain HTTP on 127.0.0.1, for the people and programs of this machine. */
  readonly plainPort: number;
  /** STRATA_ADVERTISE: host, or host:port, that nodes and people dial; left out, an address of this machine. */
  readonly advertise: string | undefined;
  /** STRATA_AGENT_DIR [<data>/controller/agent]: holds strata-agent-<os>-<arch>. */
  readonly agentDirectory: string;
  /** STRATA_BLOBS: the bucket of S3 that has the store's blobs, s3://BUCKET/PREFIX?endpoint=URL&region=REGION; left
   * out, they are in the data. */
  readonly bucket: S3Location | undefined;
  /** STRATA_MIRRORS: a YAML file of repositories that come from other registries. */
  readonly mirrors: readonly MirrorRule[];
  /** STRATA_LOG_LEVEL [info]: trace, debug, info, warn, error, silent. */
  readonly logLevel: string;
  /** STRATA_CPU_OVERCOMMIT [8]: how many times over the processors of a node are promised. */
  readonly cpuOvercommit: number;
  /** STRATA_START_DEADLINE [10m]: from placement to the moment when a process must have begun to start. */
  readonly startDeadlineMs: number;
  /** STRATA_REPORTS_PER_SECOND [100]: reports of all nodes together; sets how often each beats. */
  readonly reportsPerSecond: number;
  /** STRATA_STORE_COLLECT_EVERY [6h]: from one garbage collection of the store to the next. */
  readonly storeCollectEveryMs: number;
  /** STRATA_STORE_GRACE [24h]: what was pushed, pulled or looked for within this time is not collected. */
  readonly storeGraceMs: number;
  /** STRATA_STORE_SCRUB_RATE [4 MiB/s]: bytes per second at which stored blobs are hashed again; 0 never. */
  readonly storeScrubRate: number;
  /** STRATA_DELTA_MAX_MIB [128]: largest layer that nodes with an older one get as a difference; 0 none. */
  readonly deltaBlobBytesMax: number;
  /** STRATA_BACKUP_DIR: backups are made there by themselves; left out, none. */
  readonly backupDirectory: string | undefined;
  /** STRATA_BACKUP_EVERY [24h]: from one of those to the next. */
  readonly backupEveryMs: number;
  /** STRATA_BACKUP_KEEP [7]: so many are kept. */
  readonly backupKeep: number;
  /** STRATA_BACKUP_BLOBS [off]: with the blobs of the store. */
  readonly backupBlobs: boolean;
  /** STRATA_BACKUP_RECIPIENTS: `age1…,…`: the public keys of age that they are encrypted for; left out, anybody who has
   * the file can read it. */
  readonly backupRecipients: readonly string[];
  /** STRATA_EVENTS_MAX [100000]: events kept. */
  readonly eventsMax: number;
  /** OTEL_EXPORTER_OTLP_TRACES_ENDPOINT, or /v1/traces below OTEL_EXPORTER_OTLP_ENDPOINT: where traces go; left out,
   * none are made. */
  readonly tracesUrl: string | undefined;
  /** OTEL_TRACES_SAMPLER_ARG [1]: the share of traces that are kept, of those that begin here. */
  readonly tracesShare: number;
  /** STRATA_METRICS_MAX_MIB [1024]: disk for the metrics history; 0 keeps none. */
  readonly metricsBytesMax: number;
  /** STRATA_RATE_PER_MINUTE [12000]: requests of one token to the API, where the token says nothing itself; 0 no limit. */
  readonly ratePerMinute: number;
  /** STRATA_OIDC_ISSUER, STRATA_OIDC_AUDIENCE [strata], STRATA_OIDC_RULES: whose tokens are taken besides our own, for
   * whom they must be, and a YAML file of what their claims stand for; undefined takes none. */
  readonly oidc: OidcSettings | undefined;
  /** STRATA_TRUSTED_PROXIES []: addresses and ranges whose X-Forwarded-For is believed. */
  readonly trustedProxies: BlockList;
  /** STRATA_AUDIT_DAYS [365]: how long the audit log is kept. */
  readonly auditDays: number;
  /** STRATA_PROMETHEUS []: `name=url,…`: the servers that scaling policies may ask, by the name that they say. */
  readonly prometheus: Readonly<Record<string, string>>;
  /** STRATA_DOMAIN [localhost]: subscriptions answer under alias.tenant.DOMAIN at every ingress. */
  readonly domain: string;
  /** STRATA_SERVICE_NETWORK [198.18.0.0/15]: IPv4 from which subscriptions have their addresses; /8 to /15. */
  readonly serviceNetwork: ServiceNetwork;
  /** STRATA_ACME_DIRECTORIES [Let's Encrypt]: URLs of the ACME servers that tenants may name, the usual one first. */
  readonly acmeDirectories: readonly string[];
};

/** Limits that are no settings. */
export const limits = {
  longPollMsMax: 60_000,
  /** Long polls held for one node: one is normal, two happen while an agent restarts. */
  pollsPerNodeMax: 4,
  streamOpenMsMax: 10_000,
  streamsPendingPerNodeMax: 256,
  reconcileEveryMs: 3000,
  expireEveryMs: 1000,
  trimAuditEveryMs: 600_000,
  auditEntriesMax: 5_000_000,
  auditTrimMax: 10_000,
  prefetchEveryMs: 3000,
  /** Where nothing has changed; schedules of scaling policies change what will run soon. */
  prefetchAtLeastEveryMs: 60_000,
  /** Between two looks at what followers follow; a push to the store is looked at at once. */
  followEveryMs: 60_000,
  provisionEveryMs: 5000,
  /** Level 1 looks this often whose turn it is. */
  autoscaleEveryMs: 250,
  /** Between two looks at which certificates end; what is asked for is seen to at once. */
  certificatesEveryMs: 10_000,
  pollMetricsEveryMs: 500,
  /** A point is made every 10 s; what is in memory is written down little by little. */
  recordMetricsEveryMs: 1000,
  actionsPerTickMax: 1000,
  /** Of planning, and of each kind of write, before requests get their turn. */
  reconcileSliceMs: 10,
  reportBytesMax: 32 * 1024 * 1024,
  /** One turn of the re-hash of stored blobs; the next goes on where it stopped. */
  storeScrubMs: 60_000,
  storeScrubByHandMs: 60_000,
  storeScrubByHandRate: 200 * 1024 * 1024,
  backupLookEveryMs: 60_000,
  pageMax: 1000,
  connectionsMax: 20_000,
  stopGraceMs: 5000,
} as const;

const BACKUP_EVERY_MS_MIN = 60_000;

type Environment = Readonly<Record<string, string | undefined>>;

/** @throws ControllerError SETTING_INVALID, naming the setting and what it may be. */
export function readConfig(environment: Environment): Config {
  const dataDirectory = environment["STRATA_DATA"] ?? "/var/lib/strata";
  const port = integer(environment, { name: "STRATA_PORT", initial: 7070, min: 0, max: 65_534 });
  return {
    dataDirectory,
    port,
    tls: oneOf(environment, { name: "STRATA_TLS", initial: "on", values: ["on", "off"] }) === "on",
    listenAddress: environment["STRATA_LISTEN"],
    plainPort: integer(environment, {
      name: "STRATA_PLAIN_PORT",
      initial: port === 0 ? 0 : port + 1,
      min: 0,
      max: 65_535,
    }),
    advertise: advertised(environment["STRATA_ADVERTISE"]),
    agentDirectory: environment["STRATA_AGENT_DIR"] ?? join(dataDirectory, "controller", "agent"),
    bucket: bucket(environment["STRATA_BLOBS"]),
    mirrors: mirrors(environment["STRATA_MIRRORS"]),
    logLevel: oneOf(environment, {
      name: "STRATA_LOG_LEVEL",
      initial: "info",
      values: ["trace", "debug", "info", "warn", "error", "silent"],
    }),
    cpuOvercommit: integer(environment, {
      name: "STRATA_CPU_OVERCOMMIT",
      initial: 8,
      min: 1,
      max: 1000,
    }),
    startDeadlineMs: duration(environment, { name: "STRATA_START_DEADLINE", initial: "10m" }),
    reportsPerSecond: integer(environment, {
      name: "STRATA_REPORTS_PER_SECOND",
      initial: 100,
      min: 1,
      max: 100_000,
    }),
    storeCollectEveryMs: duration(environment, {
      name: "STRATA_STORE_COLLECT_EVERY",
      initial: "6h",
    }),
    storeGraceMs: duration(environment, { name: "STRATA_STORE_GRACE", initial: "24h" }),
    storeScrubRate: integer(environment, {
      name: "STRATA_STORE_SCRUB_RATE",
      initial: 4 * 1024 * 1024,
      min: 0,
      max: 100_000_000_000,
    }),
    deltaBlobBytesMax:
      1024 ** 2 *
      integer(environment, { name: "STRATA_DELTA_MAX_MIB", initial: 128, min: 0, max: 512 }),
    ...backups(environment),
    eventsMax: integer(environment, {
      name: "STRATA_EVENTS_MAX",
      initial: 100_000,
      min: 1000,
      max: 100_000_000,
    }),
    ...observed(environment),
    ...readAccess(environment),
    prometheus: namedUrls(environment, "STRATA_PROMETHEUS"),
    domain: domain(environment["STRATA_DOMAIN"]),
    serviceNetwork: serviceNetwork(environment["STRATA_SERVICE_NETWORK"]),
    acmeDirectories: httpsUrls(environment, {
      name: "STRATA_ACME_DIRECTORIES",
      initial: "https://acme-v02.api.letsencrypt.org/directory",
    }),
  };
}

function observed(
  environment: Environment,
): Pick<Config, "tracesUrl" | "tracesShare" | "metricsBytesMax"> {
  return {
    tracesUrl: tracesUrl(environment),
    tracesShare: share(environment, { name: "OTEL_TRACES_SAMPLER_ARG", initial: 1 }),
    metricsBytesMax:
      1024 ** 2 *
      integer(environment, {
        name: "STRATA_METRICS_MAX_MIB",
        initial: 1024,
        min: 0,
        max: 1_000_000,
      }),
  };
}

type BackupSettings = Pick<
  Config,
  "backupDirectory" | "backupEveryMs" | "backupKeep" | "backupBlobs" | "backupRecipients"
>;

function backups(environment: Environment): BackupSettings {
  const recipients = (environment["STRATA_BACKUP_RECIPIENTS"] ?? "")
    .split(",")
    .map((recipient) => recipient.trim())
    .filter((recipient) => recipient !== "");
  if (!recipients.every((recipient) => /^age1[a-z0-9]{10,3000}$/.test(recipient)))
    throw invalid("STRATA_BACKUP_RECIPIENTS", "a list of public keys of age: age1…,age1…");
  const directory = environment["STRATA_BACKUP_DIR"] ?? "";
  const blobs = { name: "STRATA_BACKUP_BLOBS", initial: "off", values: ["on", "off"] };
  const every = duration(environment, { name: "STRATA_BACKUP_EVERY", initial: "24h" });
  if (every < BACKUP_EVERY_MS_MIN) throw invalid("STRATA_BACKUP_EVERY", "a minute or more");
  return {
    backupDirectory: directory === "" ? undefined : directory,
    backupEveryMs: every,
    backupKeep: integer(environment, {
      name: "STRATA_BACKUP_KEEP",
      initial: 7,
      min: 1,
      max: 10_000,
    }),
    backupBlobs: oneOf(environment, blobs) === "on",
    backupRecipients: recipients,
  };
}

function integer(
  environment: Environment,
  { name, initial, min, max }: { name: string; initial: number; min: number; max: number },
): number {
  const text = environment[name];
  if (text === undefined || text === "") return initial;
  const value = Number(text);
  if (/^\d{1,12}$/.test(text) && value >= min && value <= max) return value;
  throw invalid(name, `a whole number from ${min} to ${max}`);
}

function oneOf(
  environment: Environment,
  { name, initial, values }: { name: string; initial: string; values: readonly string[] },
): string {
  const text = environment[name] ?? "";
  if (text === "") return initial;
  if (values.includes(text)) return text;
  throw invalid(name, `one of ${values.join(", ")}`);
}

function duration(
  environment: Environment,
  { name, initial }: { name: string; initial: string },
): number {
  try {
    return parseDurationMs(environment[name] ?? initial);
  } catch (cause) {
    throw invalid(name, "a duration such as 30s or 10m", cause);
  }
}

function namedUrls(environment: Environment, name: string): Readonly<Record<string, string>> {
  const entries = (environment[name] ?? "").split(",").filter((entry) => entry.trim() !== "");
  return Object.fromEntries(
    entries.map((entry) => {
      const [, key = "", url = ""] = /^\s*([a-z0-9][a-z0-9-]{0,62})=(\S+)\s*$/.exec(entry) ?? [];
      if (/^https?:$/.test(URL.parse(url)?.protocol ?? "")) return [key, url];
      throw invalid(name, "a list such as default=http://10.0.0.5:9090,other=https://…");
    }),
  );
}

function httpsUrls(
  environment: Environment,
  { name, initial }: { name: string; initial: string },
): readonly string[] {
  const urls = (environment[name] || initial).split(",").map((url) => url.trim());
  if (urls.every((url) => URL.parse(url)?.protocol === "https:")) return urls;
  throw invalid(name, "a list of URLs such as https://ca.example.com/acme/directory");
}

function readAccess(
  environment: Environment,
): Pick<Config, "ratePerMinute" | "oidc" | "trustedProxies" | "auditDays"> {
  return {
    ratePerMinute: integer(environment, {
      name: "STRATA_RATE_PER_MINUTE",
      initial: 12_000,
      min: 0,
      max: 10_000_000,
    }),
    oidc: oidc(environment),
    trustedProxies: addressRanges(environment, "STRATA_TRUSTED_PROXIES"),
    auditDays: integer(environment, {
      name: "STRATA_AUDIT_DAYS",
      initial: 365,
      min: 1,
      max: 36_500,
    }),
  };
}

function oidc(environment: Environment): OidcSettings | undefined {
  const issuer = environment["STRATA_OIDC_ISSUER"] ?? "";
  if (issuer === "") return undefined;
  if (!isTrustedUrl(issuer))
    throw invalid("STRATA_OIDC_ISSUER", "an https URL, or a plain one of this machine");
  const audience = environment["STRATA_OIDC_AUDIENCE"] ?? "";
  try {
    const rules = readOidcRules(environment["STRATA_OIDC_RULES"] ?? "");
    return { issuer, audience: audience === "" ? "strata" : audience, rules };
  } catch (cause) {
    throw invalid("STRATA_OIDC_RULES", "a readable YAML file of rules", cause);
  }
}

function addressRanges(environment: Environment, name: string): BlockList {
  const texts = (environment[name] ?? "").split(",").map((text) => text.trim());
  const ranges = readAddressRanges(texts.filter((text) => text !== ""));
  if (ranges !== undefined) return ranges;
  throw invalid(name, "a list of addresses and ranges such as 10.0.0.7,192.0.2.0/24");
}

/** OpenTelemetry Protocol Exporter, "Endpoint URLs for OTLP/HTTP". */
function tracesUrl(environment: Environment): string | undefined {
  const [own, base] = ["OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT"];
  const ofTraces = environment[own] ?? "";
  const ofAll = (environment[base] ?? "").replace(/\/+$/, "");
  if (ofTraces === "" && ofAll === "") return undefined;
  const url = ofTraces === "" ? `${ofAll}/v1/traces` : ofTraces;
  if (/^https?:$/.test(URL.parse(url)?.protocol ?? "")) return url;
  throw invalid(ofTraces === "" ? base : own, "a URL such as http://127.0.0.1:4318");
}

function share(
  environment: Environment,
  { name, initial }: { name: string; initial: number },
): number {
  const text = environment[name] ?? "";
  if (text === "") return initial;
  const value = Number(text);
  if (value >= 0 && value <= 1) return value;
  throw invalid(name, "a number from 0 to 1");
}

function advertised(text: string | undefined): string | undefined {
  if (text === undefined || text === "") return undefined;
  const host = text.replace(/:\d{1,5}$/, "");
  const plain = host.replace(/^\[|\]$/g, "");
  if (isIP(plain) !== 0 || /^[A-Za-z0-9]([A-Za-z0-9.-]{0,251}[A-Za-z0-9])?$/.test(plain))
    return text;
  throw invalid("STRATA_ADVERTISE", "a host name or address, with :port if it is another one");
}

function domain(text = ""): string {
  const name = (text === "" ? "localhost" : text).toLowerCase();
  if (Host.safeParse(name).success && !name.startsWith("*")) return name;
  throw invalid("STRATA_DOMAIN", "the name of a domain, such as apps.example.com");
}

function serviceNetwork(text = ""): ServiceNetwork {
  const network = parseServiceNetwork(text === "" ? "198.18.0.0/15" : text);
  if (network !== undefined) return network;
  throw invalid(
    "STRATA_SERVICE_NETWORK",
    "a network of IPv4 from /8 to /15, such as 198.18.0.0/15",
  );
}

function bucket(text: string | undefined): S3Location | undefined {
  if (text === undefined || text === "") return undefined;
  try {
    return parseS3Location(text);
  } catch (cause) {
    throw invalid("STRATA_BLOBS", "s3://BUCKET/PREFIX?endpoint=URL&region=REGION", cause);
  }
}

function mirrors(path: string | undefined): readonly MirrorRule[] {
  if (path === undefined || path === "") return [];
  try {
    return readMirrors(path);
  } catch (cause) {
    throw invalid("STRATA_MIRRORS", "a readable file of mirrors", cause);
  }
}

function invalid(name: string, wanted: string, cause?: unknown): ControllerError {
  return new ControllerError("SETTING_INVALID", `${name} is not ${wanted}`, {
    ...(cause === undefined ? {} : { cause }),
    hint: `set ${name} to ${wanted}, or leave it out`,
  });
}
