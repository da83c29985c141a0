/** What /proc says of one process. */
import { readFileSync } from "node:fs";

/** USER_HZ of every Linux that we know: what /proc counts in. */
const MS_PER_TICK = 10;

export type Memory = { readonly nowMib: number; readonly peakMib: number };

/** Resident memory, now and at most since its start. proc_pid_status(5). */
export function readMemory(pid: number | string): Memory {
  const status = readFileSync(`/proc/${pid}/status`, "utf8");
  const mebibytes = (name: string): number =>
    Number(new RegExp(`^${name}:\\s+(\\d+) kB$`, "m").exec(status)?.[1]) / 1024;
  return { nowMib: mebibytes("VmRSS"), peakMib: mebibytes("VmHWM") };
}

/** Processor time so far of the process itself, and of it with the children that it has waited for. */
export function readCpu(pid: number | string): {
  readonly ownMs: number;
  readonly withChildrenMs: number;
} {
  const stat = readFileSync(`/proc/${pid}/stat`, "utf8");
  // utime, stime, cutime and cstime of proc_pid_stat(5), which counts its fields from 1.
  const [user = 0, system = 0, childUser = 0, childSystem = 0] = stat
    .slice(stat.lastIndexOf(")") + 2)
    .split(" ")
    .slice(11, 15)
    .map(Number);
  const ownMs = MS_PER_TICK * (user + system);
  return { ownMs, withChildrenMs: ownMs + MS_PER_TICK * (childUser + childSystem) };
}
