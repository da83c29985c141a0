import type { ProcessSpec } from "@strata/protocol/agent/messages";
import { type ExecProbe, Probe } from "@strata/protocol/agent/probes";
import type { ImageConfig } from "@strata/protocol/oci/image";
import { z } from "zod";

/** The probes of one run. */
export const ProbePlan = z.object({
  startup: Probe.optional(),
  readiness: Probe.optional(),
  liveness: Probe.optional(),
});
export type ProbePlan = z.infer<typeof ProbePlan>;

export const probeNames = ["startup", "readiness", "liveness"] as const;
export type ProbeName = (typeof probeNames)[number];

/** What the assignment says of its probes, and where it says nothing of readiness, what the image says. Pure. */
export function planProbes(
  { health, probes = {} }: Pick<ProcessSpec, "health" | "probes">,
  image: ImageConfig["config"],
): ProbePlan {
  const { startup, liveness } = probes;
  const wished = probes.readiness ?? health;
  const own = wished === undefined ? planHealthcheck(image) : {};
  const readiness = wished ?? own.readiness;
  const begin = startup ?? own.startup;
  return {
    ...(begin !== undefined && begin.kind !== "none" && { startup: begin }),
    ...(readiness !== undefined && readiness.kind !== "none" && { readiness }),
    ...(liveness && { liveness }),
  };
}

const NS_PER_MS = 1_000_000;
/** Docker's defaults: https://docs.docker.com/reference/dockerfile/#healthcheck */
const INTERVAL_MS = 30_000;
const TIMEOUT_MS = 30_000;
const START_INTERVAL_MS = 5000;
const RETRIES = 3;
/** To start a program more often would cost more than it tells. */
const INTERVAL_MS_MIN = 1000;
const DURATION_MS_MAX = 24 * 3_600_000;
const COUNT_MAX = 10_000;

/** A HEALTHCHECK of a Dockerfile. Failures within its start period do not count, and to be unhealthy after it is to be
 * ended: so that period, and the failures that are too many after it, are what a startup probe waits. */
function planHealthcheck(
  config: ImageConfig["config"],
): Pick<Partial<Record<ProbeName, ExecProbe>>, "startup" | "readiness"> {
  const { Healthcheck: check, Shell: shell } = config ?? {};
  const command = readCommand(check?.Test ?? [], shell ?? []);
  if (command === undefined) return {};
  const intervalMs = atLeast(INTERVAL_MS_MIN, toMs(check?.Interval, INTERVAL_MS));
  const timeoutMs = atLeast(INTERVAL_MS_MIN, toMs(check?.Timeout, TIMEOUT_MS));
  const failureThreshold = toCount(check?.Retries, RETRIES);
  const readiness: ExecProbe = { kind: "exec", command, intervalMs, timeoutMs, failureThreshold };
  const startMs = toMs(check?.StartPeriod, 0);
  if (startMs === 0) return { readiness };
  const stepMs = atLeast(INTERVAL_MS_MIN, toMs(check?.StartInterval, START_INTERVAL_MS));
  const waitMs = startMs + failureThreshold * intervalMs;
  const steps = Math.min(COUNT_MAX, Math.ceil(waitMs / stepMs));
  return {
    readiness,
    startup: { ...readiness, intervalMs: stepMs, failureThreshold: steps },
  };
}

/** Undefined for none. */
function readCommand(
  [kind, ...words]: readonly string[],
  shell: readonly string[],
): string[] | undefined {
  const [line] = words;
  if (line === undefined || words.some((word) => word.includes("\0"))) return undefined;
  if (kind === "CMD") return words;
  if (kind !== "CMD-SHELL") return undefined;
  return [...(shell.length > 0 ? shell : ["/bin/sh", "-c"]), line];
}

function toMs(nanoseconds: number | null | undefined, defaultMs: number): number {
  if (nanoseconds === null || nanoseconds === undefined || nanoseconds <= 0) return defaultMs;
  return Math.min(DURATION_MS_MAX, Math.ceil(nanoseconds / NS_PER_MS));
}

function toCount(count: number | null | undefined, defaultCount: number): number {
  if (count === null || count === undefined || count < 1) return defaultCount;
  return Math.min(COUNT_MAX, Math.floor(count));
}

function atLeast(least: number, value: number): number {
  return Math.max(least, value);
}
