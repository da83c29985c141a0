/** Limits as cgroup v1 has them: Documentation/admin-guide/cgroup-v1. */
import { existsSync } from "node:fs";
import { writeFile } from "node:fs/promises";
import { join } from "node:path";

import type { Limits } from "@strata/protocol/agent/messages";
import { getErrorCode } from "@strata/protocol/errors";

import { CPU_PERIOD_US, cpuQuotaUs } from "./cgroups.ts";
import type { Disk } from "./disk.ts";
import {
  makeGroup,
  readGroupFile,
  writeGroupFile,
  writeOptionalGroupFile,
} from "./group-folder.ts";
import {
  BFQ_WEIGHT_MAX,
  DEFAULT_WEIGHT,
  requireHoldable,
  tooMuchInUse,
  weightWithoutEffect,
} from "./limits.ts";

export type LegacyController = "memory" | "cpu" | "pids" | "blkio";

/** Folders of one process; undefined where the controller is not mounted, which only blkio may be. */
export type LegacyGroups = {
  /** Its share beside other processes. */
  readonly process: (controller: LegacyController) => string | undefined;
  readonly box: (controller: "memory" | "cpu" | "pids") => string;
  /** The container, where it is there. */
  readonly container: (controller: LegacyController) => string | undefined;
};

const PAGE_BYTES = 4096;
/** What a weight of 100 is in cpu.shares, and what the kernel takes at most. */
const DEFAULT_SHARES = 1024;
const SHARES_MAX = 262_144;

/** Of new groups: what nobody asks for is as the kernel made it. Limits of io are not here but LXC's to set.
 * @throws AgentError LIMIT_UNSUPPORTED */
export function setLegacyLimits(
  groups: LegacyGroups,
  limits: Limits,
  disk: Disk | undefined,
): void {
  requireLegacy(groups, limits, disk);
  const { memoryMaxBytes, memoryHighBytes, cpuWeight, io } = limits;
  const memory = groups.box("memory");
  // Kernels before 5.11 count a subgroup against its parent only when asked.
  if (readGroupFile(memory, "memory.use_hierarchy")?.trim() === "0") {
    writeGroupFile(memory, "memory.use_hierarchy", 1);
  }
  // The sum with swap may never be below memory alone: lift it, lower or raise memory, then set it.
  writeOptionalGroupFile(memory, "memory.memsw.limit_in_bytes", -1);
  writeGroupFile(memory, "memory.limit_in_bytes", memoryMaxBytes);
  writeOptionalGroupFile(memory, "memory.memsw.limit_in_bytes", withSwapMaxBytes(limits));
  if (memoryHighBytes !== undefined) {
    writeGroupFile(memory, "memory.soft_limit_in_bytes", memoryHighBytes);
  }
  setCounts(groups, limits);
  if (cpuWeight !== undefined) setCpuWeight(groups, cpuWeight);
  if (io?.weight !== undefined) setIoWeight(groups, io.weight);
}

/** All limits of a process that runs, memory first: it is the one that may be refused.
 * @throws AgentError LIMIT_UNSUPPORTED, RESIZE_REFUSED */
export async function resizeLegacy(
  groups: LegacyGroups,
  limits: Limits,
  disk: Disk | undefined,
): Promise<void> {
  requireLegacy(groups, limits, disk);
  const { memoryHighBytes, cpuWeight, io } = limits;
  const memory = groups.box("memory");
  await resizeMemory(memory, limits);
  const container = groups.container("memory");
  if (container !== undefined && existsSync(container)) {
    await writeLimit(container, { name: "memory.limit_in_bytes", bytes: seenMemoryBytes(limits) });
  }
  writeOptionalGroupFile(memory, "memory.soft_limit_in_bytes", memoryHighBytes ?? -1);
  setCounts(groups, limits);
  setCpuWeight(groups, cpuWeight ?? DEFAULT_WEIGHT);
  setIoWeight(groups, io?.weight ?? DEFAULT_WEIGHT);
  const throttled = groups.container("blkio");
  if (throttled !== undefined && existsSync(throttled) && disk !== undefined) {
    for (const { name, value } of throttles(io ?? {}, disk)) {
      writeOptionalGroupFile(throttled, name, value);
    }
  }
}

/** A limit that the application sees is a page higher than ours, one level up, so that ours is hit first and counts it. */
export function seenMemoryBytes({ memoryMaxBytes }: Limits): number {
  return memoryMaxBytes + PAGE_BYTES;
}

/** Charged before memory and without a count of failures on recent kernels: it must not be hit first. */
function withSwapMaxBytes({ memoryMaxBytes, swapMaxBytes = 0 }: Limits): number {
  return memoryMaxBytes + swapMaxBytes + PAGE_BYTES;
}

type MemoryWrite = {
  readonly name: "memory.limit_in_bytes" | "memory.memsw.limit_in_bytes";
  readonly bytes: number;
};

/** Two limits, of which the sum with swap may at no moment be the smaller one. Both or none.
 * @throws AgentError RESIZE_REFUSED */
async function resizeMemory(box: string, limits: Limits): Promise<void> {
  const own = { name: "memory.limit_in_bytes", bytes: limits.memoryMaxBytes } as const;
  const sum = { name: "memory.memsw.limit_in_bytes", bytes: withSwapMaxBytes(limits) } as const;
  const sumBefore = readGroupFile(box, sum.name);
  if (sumBefore === undefined) return await writeLimit(box, own);
  const [first, second]: readonly [MemoryWrite, MemoryWrite] =
    sum.bytes >= Number(sumBefore) ? [sum, own] : [own, sum];
  const before = Number(readGroupFile(box, first.name));
  await writeLimit(box, first);
  try {
    await writeLimit(box, second);
  } catch (error) {
    await writeLimit(box, { name: first.name, bytes: before });
    throw error;
  }
}

/** EBUSY: the kernel took back what it could, and it was not enough. */
async function writeLimit(group: string, { name, bytes }: MemoryWrite): Promise<void> {
  try {
    await writeFile(join(group, name), String(bytes));
  } catch (cause) {
    throw getErrorCode(cause) === "EBUSY" ? tooMuchInUse(bytes, cause) : cause;
  }
}

function setCounts({ box }: LegacyGroups, { cpuMaxMillis, pidsMax }: Limits): void {
  writeGroupFile(box("cpu"), "cpu.cfs_period_us", CPU_PERIOD_US);
  writeGroupFile(box("cpu"), "cpu.cfs_quota_us", cpuQuotaUs(cpuMaxMillis));
  writeGroupFile(box("pids"), "pids.max", pidsMax);
}

function setCpuWeight(groups: LegacyGroups, weight: number): void {
  const group = groups.process("cpu");
  const shares = Math.round((weight * DEFAULT_SHARES) / DEFAULT_WEIGHT);
  if (group !== undefined) {
    writeGroupFile(group, "cpu.shares", Math.min(SHARES_MAX, Math.max(2, shares)));
  }
}

/** CFQ's `blkio.weight` went with the scheduler in Linux 5.0; BFQ has its own. */
function setIoWeight(groups: LegacyGroups, weight: number): void {
  const group = groups.process("blkio");
  if (group === undefined || (weight === DEFAULT_WEIGHT && !existsSync(group))) return;
  makeGroup(group);
  writeOptionalGroupFile(group, "blkio.bfq.weight", Math.min(BFQ_WEIGHT_MAX, weight));
}

type ThrottleFile = `blkio.throttle.${"read" | "write"}_${"bps" | "iops"}_device`;

/** On v1 a limit holds for its own group alone and not for those below: it stands at the container itself. 0 is none. */
export function throttles(
  io: NonNullable<Limits["io"]>,
  disk: Disk,
): readonly { readonly name: ThrottleFile; readonly value: string }[] {
  const limits: readonly (readonly [ThrottleFile, number | undefined])[] = [
    ["blkio.throttle.read_bps_device", io.readBytesPerSecond],
    ["blkio.throttle.write_bps_device", io.writeBytesPerSecond],
    ["blkio.throttle.read_iops_device", io.readOpsPerSecond],
    ["blkio.throttle.write_iops_device", io.writeOpsPerSecond],
  ];
  return limits.map(([name, limit]) => ({ name, value: `${disk.number} ${limit ?? 0}` }));
}

function requireLegacy(groups: LegacyGroups, limits: Limits, disk: Disk | undefined): void {
  requireHoldable(limits, {
    swap: () => existsSync(join(groups.box("memory"), "memory.memsw.limit_in_bytes")),
    throttling: () => disk !== undefined && groups.process("blkio") !== undefined,
  });
}

export function describeLegacyShortfall(
  { io }: Limits,
  disk: Disk | undefined,
): string | undefined {
  if (io?.weight === undefined || disk?.usesBfq() === true) return undefined;
  return weightWithoutEffect(io.weight);
}
