import { closeSync, constants, openSync, readlinkSync, readSync } from "node:fs";

import { getErrorCode } from "@strata/protocol/errors";

const RECORD_BYTES_MAX = 8192;
/** The kernel keeps fewer in the largest buffer that it can have. */
const RECORDS_MAX = 1_000_000;

/** PROC_PID_INIT_INO in include/uapi/linux/nsfs.h: the log names processes as the machine itself does. */
const MACHINE_PID_NAMESPACE = "pid:[4026531836]";

/** Whether the kernel's log says that it killed this process because a control group was out of memory
 * (`oom_kill_process` in mm/oom_kill.c; these lines are not rate-limited). Undefined where the log cannot tell, as in a
 * container. Some milliseconds. */
export function wasKilledForMemory(pid: number): boolean | undefined {
  const log = openKernelLog();
  if (log === undefined) return undefined;
  try {
    return hasLine(log, `Memory cgroup out of memory: Killed process ${pid} (`);
  } finally {
    closeSync(log);
  }
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
function hasLine(log: number, text: string): boolean {
  const record = Buffer.alloc(RECORD_BYTES_MAX);
  for (let count = 0; count < RECORDS_MAX; count += 1) {
    try {
      const length = readSync(log, record, 0, record.length, null);
      if (length === 0) return false;
      if (record.toString("latin1", 0, length).includes(text)) return true;
    } catch (error) {
      if (getErrorCode(error) !== "EPIPE") return false;
    }
  }
  return false;
}
