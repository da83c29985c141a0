import { closeSync, constants, openSync, readlinkSync, readSync } from "node:fs";

import { getErrorCode } from "@strata/protocol/errors";

const RECORD_BYTES_MAX = 8192;
/** The kernel keeps fewer in the largest buffer that it can have. */
const RECORDS_MAX = 1_000_000;

/** The clock of the log's lines is another than that of `endedAtMs`. */
const CLOCKS_DIFFER_MS = 5000;

/** PROC_PID_INIT_INO in include/uapi/linux/nsfs.h: the log names processes as the machine itself does. */
const MACHINE_PID_NAMESPACE = "pid:[4026531836]";

/** Whether the kernel's log says that it killed this process because a control group was out of memory
 * (`oom_kill_process` in mm/oom_kill.c; these lines are not rate-limited). `endedAtMs` is counted from the kernel's boot.
 * Undefined where the log cannot tell: in a container, or when it no longer reaches back so far. Some milliseconds. */
export function wasKilledForMemory(pid: number, endedAtMs: number): boolean | undefined {
  const log = openKernelLog();
  if (log === undefined) return undefined;
  try {
    let oldestMs = Number.POSITIVE_INFINITY;
    for (const record of readRecords(log)) {
      if (record.includes(`Memory cgroup out of memory: Killed process ${pid} (`)) return true;
      oldestMs = Math.min(oldestMs, parseTimeMs(record));
    }
    return oldestMs < endedAtMs - CLOCKS_DIFFER_MS ? false : undefined;
  } finally {
    closeSync(log);
  }
}

/** `PRIORITY,NUMBER,MICROSECONDS,FLAGS;TEXT` (Documentation/ABI/testing/dev-kmsg). */
function parseTimeMs(record: string): number {
  return Number(record.split(",", 3)[2] ?? Number.NaN) / 1000;
}

function openKernelLog(): number | undefined {
  try {
    if (readlinkSync("/proc/self/ns/pid") !== MACHINE_PID_NAMESPACE) return undefined;
    return openSync("/dev/kmsg", constants.O_RDONLY | constants.O_NONBLOCK);
  } catch {
    return undefined;
  }
}

/** Each read gives one record; EAGAIN says that there is no more, EPIPE that the oldest one was lost meanwhile. */
function* readRecords(log: number): Generator<string> {
  const record = Buffer.alloc(RECORD_BYTES_MAX);
  for (let count = 0; count < RECORDS_MAX; count += 1) {
    try {
      yield record.toString("latin1", 0, readSync(log, record, 0, record.length, null));
    } catch (error) {
      if (getErrorCode(error) !== "EPIPE") return;
    }
  }
}
