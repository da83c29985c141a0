/** What /proc says about processes. Every answer may be old by the time it is read; a process is only the same one
 * when its start time is too. */
import { readFileSync, readlinkSync } from "node:fs";

/** A process named so that a reused pid is not taken for it. */
export type ProcessIdentity = {
  readonly pid: number;
  /** Clock ticks since the kernel's boot: field 22 of /proc/PID/stat. */
  readonly startTicks: number;
};

type Stat = { readonly state: string; readonly parentPid: number; readonly startTicks: number };

/** Undefined when there is no such process. */
function readStat(pid: number): Stat | undefined {
  const text = readProcFile(`/proc/${pid}/stat`);
  if (text === undefined) return undefined;
  // The name in parentheses may hold spaces and parentheses of its own.
  const fields = text.slice(text.lastIndexOf(")") + 2).split(" ");
  return {
    state: fields[0] ?? "",
    parentPid: Number(fields[1]),
    startTicks: Number(fields[19]),
  };
}

/** Undefined when there is no such process. */
export function identifyProcess(pid: number): ProcessIdentity | undefined {
  const stat = readStat(pid);
  return stat === undefined ? undefined : { pid, startTicks: stat.startTicks };
}

/** Zombies are not alive. */
export function isAlive({ pid, startTicks }: ProcessIdentity): boolean {
  const stat = readStat(pid);
  return stat !== undefined && stat.startTicks === startTicks && !"ZX".includes(stat.state);
}

/** As `isAlive`, for whoever asks again and again: a signal of no effect costs a tenth of what reading costs, and every
 * tenth question makes sure that the pid is not another process's by now. */
export function createLifeCheck(): (identity: ProcessIdentity) => boolean {
  let questions = 0;
  return (identity) => {
    questions += 1;
    return questions % 10 === 0 ? isAlive(identity) : sendSignal(identity.pid, 0);
  };
}

export function getParentPid(pid: number): number | undefined {
  return readStat(pid)?.parentPid;
}

/** What the process executes, as its own mount namespace names it. */
export function getExecutable(pid: number): string | undefined {
  try {
    return readlinkSync(`/proc/${pid}/exe`);
  } catch {
    return undefined;
  }
}

/** The pid that the process has in its own pid namespace; undefined when it is in ours, or gone. */
export function getNamespacePid(pid: number): number | undefined {
  const match = /^NSpid:(?:\t\d+)+\t(\d+)$/m.exec(readProcFile(`/proc/${pid}/status`) ?? "");
  return match === null ? undefined : Number(match[1]);
}

/** False when the process is gone already. */
export function sendSignal(pid: number, signal: number): boolean {
  try {
    return process.kill(pid, signal);
  } catch {
    return false;
  }
}

/** One boot of the kernel. A pid of another boot means nothing. */
export function readKernelBootId(): string {
  return readProcFile("/proc/sys/kernel/random/boot_id")?.trim() ?? "";
}

/** Undefined when there is no such file, or no such process any more. */
export function readProcFile(path: string): string | undefined {
  try {
    return readFileSync(path, "utf8");
  } catch {
    return undefined;
  }
}
