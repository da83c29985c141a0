/** Limits as cgroup v2 has them: Documentation/admin-guide/cgroup-v2.rst. */
import { existsSync } from "node:fs";
import { writeFile } from "node:fs/promises";
import { join } from "node:path";

import type { Limits } from "@strata/protocol/agent/messages";
import { getErrorCode } from "@strata/protocol/errors";

import { CPU_PERIOD_US, cpuQuotaUs } from "./cgroups.ts";
import type { Disk } from "./disk.ts";
import { readGroupFile, writeGroupFile, writeOptionalGroupFile } from "./group-folder.ts";
import {
  BFQ_WEIGHT_MAX,
  DEFAULT_WEIGHT,
  requireHoldable,
  tooMuchInUse,
  weightWithoutEffect,
} from "./limits.ts";

/** Folders of one process. */
export type UnifiedGroups = {
  /** Its share beside other processes. */
  readonly process: string;
  readonly box: string;
  /** The container, where it is there. */
  readonly container: string;
};

const RECLAIM_ATTEMPTS = 5;

/** Of new groups: what nobody asks for is as the kernel made it.
 * @throws AgentError LIMIT_UNSUPPORTED */
export function setUnifiedLimits(
  groups: UnifiedGroups,
  limits: Limits,
  disk: Disk | undefined,
): void {
  requireUnified(groups, limits, disk);
  const { memoryMaxBytes, memoryHighBytes, cpuWeight, io } = limits;
  writeGroupFile(groups.box, "memory.max", memoryMaxBytes);
  if (memoryHighBytes !== undefined) writeGroupFile(groups.box, "memory.high", memoryHighBytes);
  setCountsAndSwap(groups.box, limits);
  if (cpuWeight !== undefined) writeGroupFile(groups.process, "cpu.weight", cpuWeight);
  if (io !== undefined) setIo(groups, io, disk);
}

/** All limits of a process that runs, memory first: it is the one that may be refused.
 * @throws AgentError LIMIT_UNSUPPORTED, RESIZE_REFUSED */
export async function resizeUnified(
  groups: UnifiedGroups,
  limits: Limits,
  disk: Disk | undefined,
): Promise<void> {
  requireUnified(groups, limits, disk);
  const { memoryMaxBytes, memoryHighBytes, cpuWeight, io } = limits;
  await makeRoom(groups.box, memoryMaxBytes);
  writeGroupFile(groups.box, "memory.max", memoryMaxBytes);
  writeGroupFile(groups.box, "memory.high", memoryHighBytes ?? "max");
  // For the application to see.
  if (existsSync(groups.container)) writeGroupFile(groups.container, "memory.max", memoryMaxBytes);
  setCountsAndSwap(groups.box, limits);
  writeGroupFile(groups.process, "cpu.weight", cpuWeight ?? DEFAULT_WEIGHT);
  setIo(groups, io ?? {}, disk);
}

/** A limit below what is in use would have the kernel kill: have it taken back first.
 * @throws AgentError RESIZE_REFUSED */
async function makeRoom(box: string, memoryMaxBytes: number): Promise<void> {
  for (let attempt = 0; attempt < RECLAIM_ATTEMPTS; attempt += 1) {
    const excess = Number(readGroupFile(box, "memory.current") ?? 0) - memoryMaxBytes;
    if (excess <= 0) return;
    try {
      await writeFile(join(box, "memory.reclaim"), String(excess));
    } catch (cause) {
      // EAGAIN: not all of it could be had at once.
      if (getErrorCode(cause) !== "EAGAIN") throw tooMuchInUse(memoryMaxBytes, cause);
    }
  }
  throw tooMuchInUse(memoryMaxBytes);
}

function setCountsAndSwap(box: string, { swapMaxBytes, cpuMaxMillis, pidsMax }: Limits): void {
  writeOptionalGroupFile(box, "memory.swap.max", swapMaxBytes ?? 0);
  writeGroupFile(box, "cpu.max", `${cpuQuotaUs(cpuMaxMillis)} ${CPU_PERIOD_US}`);
  writeGroupFile(box, "pids.max", pidsMax);
}

function setIo(groups: UnifiedGroups, io: NonNullable<Limits["io"]>, disk: Disk | undefined): void {
  const weight = io.weight ?? DEFAULT_WEIGHT;
  // Each is there when the kernel can share a disk that way; whether this disk is shared so is another question.
  writeOptionalGroupFile(groups.process, "io.weight", `default ${weight}`);
  const bfqWeight = `default ${Math.min(weight, BFQ_WEIGHT_MAX)}`;
  writeOptionalGroupFile(groups.process, "io.bfq.weight", bfqWeight);
  const canThrottle = disk !== undefined && existsSync(join(groups.box, "io.max"));
  if (canThrottle) writeGroupFile(groups.box, "io.max", `${disk.number} ${renderIoMax(io)}`);
}

function renderIoMax(io: NonNullable<Limits["io"]>): string {
  return [
    `rbps=${io.readBytesPerSecond ?? "max"}`,
    `wbps=${io.writeBytesPerSecond ?? "max"}`,
    `riops=${io.readOpsPerSecond ?? "max"}`,
    `wiops=${io.writeOpsPerSecond ?? "max"}`,
  ].join(" ");
}

function requireUnified({ box }: UnifiedGroups, limits: Limits, disk: Disk | undefined): void {
  requireHoldable(limits, {
    swap: () => existsSync(join(box, "memory.swap.max")),
    throttling: () => disk !== undefined && existsSync(join(box, "io.max")),
  });
}

/** `mount` is the root of the hierarchy: io.cost.qos, where the cost model is switched on, is there alone. */
export function describeUnifiedShortfall(
  mount: string,
  { io }: Limits,
  disk: Disk | undefined,
): string | undefined {
  if (io?.weight === undefined) return undefined;
  const isCosted =
    disk !== undefined &&
    new RegExp(`^${disk.number} enable=1`, "m").test(readGroupFile(mount, "io.cost.qos") ?? "");
  return isCosted || disk?.usesBfq() === true ? undefined : weightWithoutEffect(io.weight);
}
