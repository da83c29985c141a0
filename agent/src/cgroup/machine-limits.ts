import type { Capacity } from "@strata/protocol/agent/messages";

import { readGroupFile } from "./group-folder.ts";
import type { CgroupMounts } from "./mounts.ts";

/** What this machine may use at most when it is itself a container, whose /proc shows the host's whole size. The limits
 * are at the root of each hierarchy as this machine sees it, where a machine of its own has none; then infinite. */
export function readMachineLimits({ legacy, unified }: CgroupMounts): Capacity {
  const isLegacy = legacy.has("memory");
  const read = (controller: string, name: string): string => {
    const mount = isLegacy ? legacy.get(controller) : unified;
    return (mount === undefined ? undefined : readGroupFile(mount, name))?.trim() ?? "";
  };
  const cpu = isLegacy
    ? `${read("cpu", "cpu.cfs_quota_us")} ${read("cpu", "cpu.cfs_period_us")}`
    : read("cpu", "cpu.max");
  return {
    cpuMillis: parseCpuMillis(cpu),
    memoryBytes: parseLimit(read("memory", isLegacy ? "memory.limit_in_bytes" : "memory.max")),
    pids: parseLimit(read("pids", "pids.max")),
  };
}

/** "QUOTA PERIOD" in microseconds; a quota that is no positive number is none. */
function parseCpuMillis(text: string): number {
  const [quota = "", period = ""] = text.split(" ");
  const periodUs = parseLimit(period);
  return Math.floor((parseLimit(quota) * 1000) / (Number.isFinite(periodUs) ? periodUs : 100_000));
}

function parseLimit(text: string): number {
  return /^[1-9]\d*$/.test(text) ? Number(text) : Number.POSITIVE_INFINITY;
}
