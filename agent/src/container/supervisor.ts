import type { ChildProcess } from "node:child_process";
import { closeSync, mkdirSync, openSync } from "node:fs";
import { arch } from "node:os";

import type { Cgroups } from "../cgroup/cgroups.ts";
import { readOptionalFile } from "../durable-file.ts";
import { identifyProcess, isAlive, type ProcessIdentity } from "../host/process-table.ts";
import { startDetached } from "../host/run-tool.ts";
import type { ProcessPaths } from "../paths.ts";
import { contentsScript } from "../rootfs/contents-script.ts";
import { supervisorScript } from "../rootfs/supervisor-script.ts";
import type { Contents } from "./contents.ts";
import { watchLife } from "./life-watch.ts";

/** The process that outlives the agent and knows how its container ends. */
export type Supervisor = {
  readonly identity: ProcessIdentity;
  /** Resolves when it is gone, for whatever reason. */
  readonly gone: Promise<void>;
};

const fullScript = supervisorScript(contentsScript);
/** To read the rest takes perl a while, and most containers have neither volumes nor files. */
const plainScript = supervisorScript("");

/** A supervisor that makes all ready and starts nothing before it is let. */
export type HeldSupervisor = Supervisor & {
  readonly letStart: () => void;
  /** It ends. So it does when the agent ends before it was let. */
  readonly giveUp: () => void;
};

/** The last word of its standard input. */
const LET_START = "end\n";

/** Starts the supervisor of a run whose folder is complete. Undefined when it died before it could be named. */
export function startSupervisor(
  paths: ProcessPaths,
  contents: Contents,
): HeldSupervisor | undefined {
  const logFd = openSync(`${paths.run}/supervisor.log`, "a", 0o600);
  try {
    const child = startDetached(
      "/usr/bin/perl",
      ["-e", contents.lines.length > 0 ? fullScript : plainScript, "--", arch(), paths.run],
      { logFd, hasInput: true },
    );
    const gone = waitForExit(child);
    const { stdin } = child;
    if (contents.input !== undefined) stdin?.write(contents.input);
    const identity = child.pid === undefined ? undefined : identifyProcess(child.pid);
    if (identity === undefined) return undefined;
    return {
      identity,
      gone,
      letStart: () => void stdin?.end(LET_START),
      giveUp: () => void stdin?.destroy(),
    };
  } finally {
    closeSync(logFd);
  }
}

/** The supervisor of a run that another life of the agent started; undefined when it is gone. A pid alone proves
 * nothing, but only our supervisors are in our groups. */
export function adoptSupervisor(
  paths: ProcessPaths,
  cgroups: Cgroups,
  processId: string,
): Supervisor | undefined {
  const pid = Number(readOptionalFile(`${paths.run}/pid`)?.trim());
  const identity = Number.isSafeInteger(pid) && pid > 0 ? identifyProcess(pid) : undefined;
  if (
    identity === undefined ||
    !isAlive(identity) ||
    !cgroups.listSupervisorPids(processId).includes(pid)
  ) {
    return undefined;
  }
  return { identity, gone: watchUntilGone(identity) };
}

function waitForExit(child: ChildProcess): Promise<void> {
  const { promise, resolve } = Promise.withResolvers<void>();
  child.once("error", () => resolve());
  child.once("exit", () => resolve());
  return promise;
}

function watchUntilGone(identity: ProcessIdentity): Promise<void> {
  const { promise, resolve } = Promise.withResolvers<void>();
  const stopLooking = watchLife({ process: () => identity, onGone: resolve });
  return promise.finally(stopLooking);
}

/** The exit code that the supervisor noted; undefined when it was killed before it could. */
export function readExitCode(paths: ProcessPaths): number | undefined {
  const match = /^(\d{1,3})\n$/.exec(readOptionalFile(paths.exit) ?? "");
  return match === null ? undefined : Math.min(255, Number(match[1]));
}

export type SupervisorError = { readonly code: string; readonly message: string };

/** Why the supervisor, or LXC after it, could not start the container. */
export function readSupervisorError(paths: ProcessPaths): SupervisorError | undefined {
  const [, code, message] = /^(\w+) (.*)/s.exec(readOptionalFile(`${paths.run}/error`) ?? "") ?? [];
  if (code !== undefined && message !== undefined) return { code, message: message.trim() };
  const errors = (readOptionalFile(`${paths.run}/lxc.log`) ?? "")
    .split("\n")
    .flatMap((line) => / ERROR .* - (.*)$/.exec(line)?.[1] ?? []);
  return errors.length === 0
    ? undefined
    : { code: "START_FAILED", message: errors.slice(0, 3).join("; ") };
}

export function makeRunFolder(paths: ProcessPaths): void {
  mkdirSync(paths.run, { recursive: true, mode: 0o700 });
}
