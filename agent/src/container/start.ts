import { chmodSync, chownSync, mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";

import type { Limits } from "@strata/protocol/agent/messages";

import type { Cgroups } from "../cgroup/cgroups.ts";
import type { Clock } from "../clock.ts";
import { ID_RANGE_SIZE } from "../config.ts";
import { AgentError, type AgentErrorCode } from "../errors.ts";
import type { ProcessIdentity } from "../host/process-table.ts";
import { appArmorEntries, readAppArmorProfiles } from "../lxc/apparmor.ts";
import { renderLxcConfig } from "../lxc/config-writer.ts";
import { containerEntries } from "../lxc/container-config.ts";
import { readHostResolvers } from "../names/host-resolvers.ts";
import type { ContainerPlace } from "../network/network.ts";
import type { AgentPaths, ProcessPaths } from "../paths.ts";
import { supervisorShell, systemShell } from "../rootfs/supervisor-script.ts";
import type { Contents } from "./contents.ts";
import { findApplication } from "./find-application.ts";
import type { RunnableImage } from "./image-source.ts";
import { renderResolvConf } from "./resolv-conf.ts";
import type { RunPlan } from "./run-plan.ts";
import { isInMemory } from "./secret-keeper.ts";
import {
  makeRunFolder,
  readSupervisorError,
  startSupervisor,
  type Supervisor,
} from "./supervisor.ts";

/** How often a container is looked at until it runs. Most do so within 100 ms, and a look costs some 100 µs: where several
 * start at once, each is looked at less often, or looking would take the time that they need. */
const LOOK_MS = 2;
const LOOK_MS_MAX = 50;
/** Starts that are looked at right now, of all nodes in this program. */
let watchedStarts = 0;

/** What a container has of the processors at least until its application runs: LXC sets it up inside its limits, which
 * takes seconds where they are a hundredth of a processor. */
const START_CPU_MILLIS = 1000;

export type StartRequest = {
  readonly processId: string;
  readonly tenant: string;
  readonly plan: RunPlan;
  readonly image: RunnableImage;
  readonly limits: Limits;
  readonly idBase: number;
  readonly place: ContainerPlace;
  readonly contents: Contents;
};

export type StartContext = {
  readonly cgroups: Cgroups;
  readonly clock: Clock;
  readonly paths: AgentPaths;
  /** An empty folder of the host that everybody may enter; the supervisor mounts there, in its own namespace. */
  readonly mountFolder: string;
  /** LXC names the command socket by it, so it differs from agent to agent. Exists in the supervisors' view alone. */
  readonly lxcPath: string;
  readonly startTimeoutMs: number;
  /** The node's own; undefined where it has none. */
  readonly nameServer: () => string | undefined;
};

/** Writes what the supervisor needs and starts it. Its container is let start once the network has admitted it, which
 * takes about as long as the supervisor needs for the file system. Nothing of an earlier run may be left.
 * @throws AgentError CONTAINER_CONFIG_INVALID, START_FAILED */
export async function launch(
  context: StartContext,
  request: StartRequest & { readonly admitted: Promise<void> },
  paths: ProcessPaths,
): Promise<Supervisor> {
  const { cgroups } = context;
  const { processId, limits, plan, tenant } = request;
  makeRunFolder(paths);
  makeScratch(paths.scratch, request.idBase);
  cgroups.prepare(processId, {
    ...limits,
    cpuMaxMillis: Math.max(limits.cpuMaxMillis, START_CPU_MILLIS),
  });
  writePrivate(join(paths.run, "config"), renderConfig(context, request, paths));
  writePrivate(join(paths.run, "argv"), plan.argv.map((word) => `${word}\0`).join(""));
  writePrivate(join(paths.run, "hostname"), `${processId}\n`);
  writePrivate(join(paths.run, "hosts"), renderHosts(processId, request.place));
  writePrivate(
    join(paths.run, "resolv.conf"),
    renderResolvConf(readHostResolvers(), { nameServer: context.nameServer(), tenant }),
  );
  writePrivate(join(paths.run, "launch"), renderLaunch(context, request, paths));
  keepSecretEnv(paths.run, request.contents.secretEnv);
  const supervisor = startSupervisor(paths, request.contents);
  if (supervisor === undefined)
    throw new AgentError("START_FAILED", "the supervisor did not start");
  try {
    await request.admitted;
  } catch (error) {
    supervisor.giveUp();
    throw error;
  }
  supervisor.letStart();
  return supervisor;
}

/** Takes back what `launch` gave on top of the limits. Safe to repeat. */
export async function endStart(
  { cgroups }: StartContext,
  { processId, limits }: Pick<StartRequest, "processId" | "limits">,
): Promise<void> {
  if (limits.cpuMaxMillis < START_CPU_MILLIS) await cgroups.resize(processId, limits);
}

/** Beside the configuration, for commands that are run in the container later. */
export const SECRET_ENV = "secret-env";

/** Never on a disk. */
function keepSecretEnv(run: string, lines: string): void {
  if (lines !== "" && isInMemory(run)) writePrivate(join(run, SECRET_ENV), lines);
}

type StartedRun = {
  readonly processId: string;
  readonly supervisor: Supervisor;
  readonly isSystem: boolean;
};

/** Resolves when the application executes its own program.
 * @throws AgentError with the supervisor's reason, or START_FAILED after the limit. The caller cleans up. */
export async function waitUntilRunning(
  context: StartContext,
  run: StartedRun,
  paths: ProcessPaths,
): Promise<ProcessIdentity | "ended"> {
  watchedStarts += 1;
  try {
    return await lookUntilRunning(context, run, paths);
  } finally {
    watchedStarts -= 1;
  }
}

async function lookUntilRunning(
  { cgroups, startTimeoutMs }: StartContext,
  { processId, supervisor, isSystem }: StartedRun,
  paths: ProcessPaths,
): Promise<ProcessIdentity | "ended"> {
  // Not by the calendar's clock, which may jump.
  const deadline = performance.now() + startTimeoutMs;
  const gone = supervisor.gone.then(() => true);
  for (let lookMs = LOOK_MS; performance.now() < deadline; lookMs *= 1.03) {
    const application = findApplication(cgroups, { processId, isSystem });
    if (application === "gone") return "ended";
    if (application !== "starting") return application;
    const waitMs = Math.min(LOOK_MS_MAX, lookMs * watchedStarts);
    const isGone = await Promise.race([gone, delay(waitMs, false)]);
    if (isGone) {
      throwSupervisorError(paths);
      // An application that ends faster than we look is no failed start: its exit code says how it went.
      return "ended";
    }
  }
  throw new AgentError("START_FAILED", `the application did not run within ${startTimeoutMs} ms`, {
    retryable: true,
  });
}

/** Says why a supervisor that is gone could not start the container; returns when it could.
 * @throws AgentError with the supervisor's reason */
export function throwSupervisorError(paths: ProcessPaths): void {
  const error = readSupervisorError(paths);
  if (error !== undefined) throw new AgentError(parseErrorCode(error.code), error.message);
}

function parseErrorCode(code: string): AgentErrorCode {
  const known: readonly AgentErrorCode[] = [
    "CONTAINER_CONFIG_INVALID",
    "USER_UNKNOWN",
    "COMMAND_MISSING",
    "ROOTFS_FAILED",
    "VOLUME_FAILED",
  ];
  return known.find((name) => name === code) ?? "START_FAILED";
}

/** The upper folder becomes the container's root folder, so it belongs to its root. */
function makeScratch(scratch: string, idBase: number): void {
  for (const name of ["upper", "work"]) mkdirSync(join(scratch, name), { recursive: true });
  chmodSync(join(scratch, "upper"), 0o755);
  chownSync(join(scratch, "upper"), idBase, idBase);
}

function renderConfig(context: StartContext, request: StartRequest, paths: ProcessPaths): string {
  const { isSystem } = request.plan;
  return renderLxcConfig([
    ...appArmorEntries(readAppArmorProfiles()),
    ...containerEntries({
      hostname: request.processId,
      rootfs: join(context.mountFolder, "rootfs"),
      idBase: request.idBase,
      seccompProfile: isSystem ? context.paths.systemSeccompProfile : context.paths.seccompProfile,
      systemLog: isSystem ? paths.log : undefined,
      env: request.plan.env,
      workingDir: request.plan.workingDir,
      cgroup: context.cgroups.lxcEntries(request.processId, request.limits),
      network: request.place,
    }),
  ]);
}

function renderHosts(processId: string, { address, ipv6 }: ContainerPlace): string {
  const own = [address, ...(ipv6 === undefined ? [] : [ipv6.address])];
  return [
    "127.0.0.1 localhost\n::1 localhost ip6-localhost ip6-loopback\n",
    ...own.map((line) => `${line} ${processId}\n`),
  ].join("");
}

function renderLaunch(context: StartContext, request: StartRequest, paths: ProcessPaths): string {
  const { plan, image } = request;
  const lines: readonly (readonly [key: string, value: string | number])[] = [
    ["name", request.processId],
    ["id-base", request.idBase],
    ["id-size", ID_RANGE_SIZE],
    ["mounts", context.mountFolder],
    ...image.layers.map(({ directory }) => ["layer", directory] as const),
    ["upper", join(paths.scratch, "upper")],
    ["work", join(paths.scratch, "work")],
    ...context.cgroups.supervisorFiles(request.processId).map((path) => ["join", path] as const),
    ...["hostname", "hosts", "resolv.conf"].map(
      (name) => ["file", `/etc/${name} ${join(paths.run, name)}`] as const,
    ),
    ...request.contents.lines,
    ["user", plan.user],
    ["path", plan.env.PATH ?? ""],
    ["working-dir", plan.workingDir],
    ["read-only", plan.readOnly ? 1 : 0],
    ["set-home", Object.hasOwn(plan.env, "HOME") ? 0 : 1],
    ["lxc-path", context.lxcPath],
    ["log", paths.log],
    ["exit", paths.exit],
    ["system", plan.isSystem ? 1 : 0],
    ["shell", plan.isSystem ? systemShell : supervisorShell],
  ];
  // Line breaks were refused where each value came in; one here would be an error of ours.
  if (lines.some(([, value]) => String(value).includes("\n")))
    throw new Error("line break in launch");
  return lines.map(([key, value]) => `${key} ${value}\n`).join("");
}

function writePrivate(path: string, content: string): void {
  writeFileSync(path, content, { mode: 0o600 });
}
