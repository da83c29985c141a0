import { spawn } from "node:child_process";
import { existsSync, openSync, closeSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";

import { root } from "../root.ts";
import type { Instance } from "./instance.ts";
import type { Keeper, Service } from "./keeper.ts";

const STOP_TIMEOUT_MS = 40_000;
const LOG_LINES = 15;

type Name = Service["name"];

/** Keeps services with `scripts/supervise`, for machines without systemd. */
export function createSupervisedKeeper({ run, log }: Instance): Keeper {
  const fileOf = (name: Name, kind: string): string => join(run, `${name}.${kind}`);
  const logOf = (name: Name): string => join(log, `${name}.log`);

  const start: Keeper["start"] = async (service) => {
    const version = fileOf(service.name, "version");
    const isRunning = supervisorPid(fileOf(service.name, "supervisor")) !== undefined;
    if (isRunning && readText(version) === service.version) return "running";
    if (isRunning) await stop(service.name);
    // A program whose supervisor was killed is nobody's: it holds the port that the new one needs.
    await stopOrphan(readPid(fileOf(service.name, "pid")), service);
    rmSync(fileOf(service.name, "ended"), { force: true });
    launch(service, { run, log: logOf(service.name) });
    writeFileSync(version, service.version);
    return isRunning ? "restarted" : "started";
  };

  const stop: Keeper["stop"] = async (name) => {
    const pid = supervisorPid(fileOf(name, "supervisor"));
    if (pid === undefined) return "absent";
    process.kill(pid, "SIGTERM");
    await waitForEnd(pid);
    return "stopped";
  };

  return {
    start,
    stop,
    remove: (name) => {
      for (const kind of ["lock", "pid", "supervisor", "ended", "version"]) {
        rmSync(fileOf(name, kind), { force: true });
      }
      return Promise.resolve();
    },
    hasFailed: (name) => Promise.resolve(existsSync(fileOf(name, "ended"))),
    readLog: (name) =>
      Promise.resolve(readText(logOf(name)).trimEnd().split("\n").slice(-LOG_LINES).join("\n")),
    logCommand: (name) => `tail -f ${logOf(name)}`,
  };
}

function launch(service: Service, folders: { readonly run: string; readonly log: string }): void {
  const log = openSync(folders.log, "a", 0o600);
  const supervisor = spawn(
    join(root, "scripts/supervise"),
    [service.name, folders.run, folders.log, ...service.command],
    {
      cwd: "/",
      detached: true,
      env: { ...baseEnvironment(), ...service.environment },
      stdio: ["ignore", log, log],
    },
  );
  supervisor.unref();
  closeSync(log);
}

/** A daemon gets what it needs from the environment of who started it, and nothing else of it. */
function baseEnvironment(): Readonly<Record<string, string>> {
  const kept = ["PATH", "HOME", "LANG", "TZ", "STRATA_TEST_RUN"];
  return Object.fromEntries(
    kept.flatMap((name) => {
      const value = process.env[name];
      return value === undefined ? [] : [[name, value]];
    }),
  );
}

/** The pid in the file, if that process is still a supervisor: pids are used again. */
function supervisorPid(path: string): number | undefined {
  const pid = readPid(path);
  return pid !== undefined && commandLine(pid).includes("scripts/supervise") ? pid : undefined;
}

async function stopOrphan(pid: number | undefined, { command }: Service): Promise<void> {
  if (pid === undefined || commandLine(pid) !== command.join(" ")) return;
  process.kill(pid, "SIGTERM");
  await waitForEnd(pid);
}

async function waitForEnd(pid: number): Promise<void> {
  const deadline = performance.now() + STOP_TIMEOUT_MS;
  while (commandLine(pid) !== "") {
    if (performance.now() > deadline) throw new Error(`process ${pid} does not end`);
    await delay(50);
  }
}

/** Empty for a process that is gone, and for one that ended and was not yet waited for. */
function commandLine(pid: number): string {
  return readText(`/proc/${pid}/cmdline`).split("\0").join(" ").trim();
}

function readPid(path: string): number | undefined {
  const text = readText(path).trim();
  return /^[1-9]\d*$/.test(text) ? Number(text) : undefined;
}

function readText(path: string): string {
  try {
    return readFileSync(path, "utf8");
  } catch {
    return "";
  }
}
