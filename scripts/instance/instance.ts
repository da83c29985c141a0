/** One installation on this machine: where it keeps its things and how it keeps out of the way of others. */
import { createHash } from "node:crypto";
import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { networkInterfaces } from "node:os";
import { join } from "node:path";

export type Instance = {
  readonly data: string;
  readonly run: string;
  readonly log: string;
  /** The control API for programs on this machine. */
  readonly url: string;
  /** Where agents reach the controller. */
  readonly agentUrl: string;
  /** The settings of controller and agent, by the names that they read. */
  readonly settings: Readonly<Record<string, string>>;
};

/** What the operator did wrong, with the remedy. */
export class SetupError extends Error {
  readonly remedy: string;

  constructor(message: string, remedy: string) {
    super(message);
    this.remedy = remedy;
  }
}

const DEFAULT_DATA = "/var/lib/strata";
const SAVED = "instance.env";
/** Instances beside the default one share twenty places; each has its own subnet, ports and user ids. */
const PLACES = 20;

const names = [
  "STRATA_DATA",
  "STRATA_RUN",
  "STRATA_PORT",
  "STRATA_TLS",
  "STRATA_BRIDGE",
  "STRATA_SUBNET",
  "STRATA_SUBNET6",
  "STRATA_HOST_PORTS",
  "STRATA_ID_BASE",
  "STRATA_BLOBS",
  "STRATA_INGRESS_HTTP",
  "STRATA_INGRESS_HTTPS",
  "STRATA_INGRESS_BIND",
  "OTEL_EXPORTER_OTLP_ENDPOINT",
] as const;

type Environment = Readonly<Record<string, string | undefined>>;

/** The instance that the environment names, with what an earlier `up` decided for it.
 * @throws SetupError for a folder that is not ours or a port that is none. */
export function loadInstance(environment: Environment): Instance {
  const data = environment["STRATA_DATA"] ?? DEFAULT_DATA;
  if (!/^\/[^\s]+[^/\s]$/.test(data)) {
    throw new SetupError(`STRATA_DATA is ${data}`, "give an absolute path without spaces");
  }
  const saved = readSaved(data);
  const wished = Object.fromEntries(
    names.flatMap((name) => {
      const value = environment[name];
      return value === undefined || value === "" ? [] : [[name, value]];
    }),
  );
  const derived = data === DEFAULT_DATA ? {} : deriveSettings(data, saved, usedSubnets());
  const settings: Record<string, string> = {
    STRATA_RUN: data === DEFAULT_DATA ? "/run/strata" : join(data, "run"),
    STRATA_PORT: "7070",
    ...derived,
    ...saved,
    ...wished,
    STRATA_DATA: data,
  };
  return describe(settings);
}

/** Makes the folders and writes down what was decided, so that `down` and the next `up` find the same instance. */
export function saveInstance({ data, run, log, settings }: Instance): void {
  mkdirSync(data, { recursive: true, mode: 0o711 });
  mkdirSync(run, { recursive: true, mode: 0o711 });
  mkdirSync(log, { recursive: true, mode: 0o700 });
  const lines = Object.entries(settings).map(([name, value]) => `${name}=${value}\n`);
  writeFileSync(join(data, SAVED), lines.join(""), { mode: 0o600 });
}

export function isInstalled({ data }: Instance): boolean {
  return existsSync(join(data, SAVED));
}

function describe(settings: Readonly<Record<string, string>>): Instance {
  const { STRATA_DATA: data = "", STRATA_RUN: run = "", STRATA_PORT: portText = "" } = settings;
  const port = Number(portText);
  if (!/^\d+$/.test(portText) || port < 1 || port > 65_534) {
    throw new SetupError(`STRATA_PORT is ${portText}`, "give a port from 1 to 65534");
  }
  const isPlain = settings["STRATA_TLS"] === "off";
  return {
    data,
    run,
    log: join(data, "log"),
    url: `http://127.0.0.1:${isPlain ? port : port + 1}`,
    agentUrl: isPlain ? `http://127.0.0.1:${port}` : `https://127.0.0.1:${port}`,
    settings,
  };
}

function readSaved(data: string): Readonly<Record<string, string>> {
  const path = join(data, SAVED);
  if (!existsSync(path)) {
    if (existsSync(data) && readdirSync(data).length > 0) {
      throw new SetupError(
        `${data} has files that are not ours`,
        "point STRATA_DATA at a new or empty folder",
      );
    }
    return {};
  }
  const lines = readFileSync(path, "utf8").split("\n");
  return Object.fromEntries(
    lines.flatMap((line) => {
      const [, name, value] = /^((?:STRATA|OTEL)_[A-Z_]+)=(.*)$/.exec(line) ?? [];
      return name === undefined || value === undefined ? [] : [[name, value]];
    }),
  );
}

/** Settings that differ from those of other instances: by the folder's name, and past subnets already in use. */
function deriveSettings(
  data: string,
  saved: Readonly<Record<string, string>>,
  used: ReadonlySet<number>,
): Readonly<Record<string, string>> {
  if (saved["STRATA_SUBNET"] !== undefined) return {};
  const hash = createHash("sha256").update(data).digest();
  const first = hash.readUInt16BE(0);
  const places = Array.from({ length: PLACES }, (_, index) => (first + index) % PLACES);
  const place = places.find((candidate) => !used.has(100 + candidate));
  if (place === undefined) {
    throw new SetupError(
      `all of 10.100.0.0/16 to 10.${99 + PLACES}.0.0/16 are in use`,
      "set STRATA_SUBNET to a free network and STRATA_BRIDGE to a free name",
    );
  }
  return {
    STRATA_BRIDGE: `st${hash.toString("hex", 0, 3)}`,
    STRATA_SUBNET: `10.${100 + place}.0.0/16`,
    STRATA_HOST_PORTS: `${10_000 + place * 500}-${10_499 + place * 500}`,
    STRATA_ID_BASE: String(2 ** 30 + (place + 1) * 2 ** 26),
    STRATA_INGRESS_HTTP: String(8100 + 2 * place),
    STRATA_INGRESS_HTTPS: String(8101 + 2 * place),
  };
}

/** The second numbers of the 10.x networks that this machine has an address in. */
function usedSubnets(): ReadonlySet<number> {
  const addresses = Object.values(networkInterfaces()).flatMap((list) => list ?? []);
  return new Set(
    addresses.flatMap(({ address }) => {
      const second = /^10\.(\d+)\./.exec(address)?.[1];
      return second === undefined ? [] : [Number(second)];
    }),
  );
}
