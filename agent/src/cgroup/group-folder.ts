/** Files and folders of a cgroup file system. */
import { mkdirSync, readdirSync, readFileSync, rmdirSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";

import { getErrorCode } from "@strata/protocol/errors";

export function makeGroup(path: string): void {
  mkdirSync(path, { recursive: true });
}

/** Makes a group in one that is there. False when that one is gone. */
export function makeSubgroup(path: string): boolean {
  try {
    mkdirSync(path);
    return true;
  } catch (error) {
    if (isGone(error)) return false;
    if (getErrorCode(error) === "EEXIST") return true;
    throw error;
  }
}

/** What the group of a probe is called. */
export function probeGroup(name: string): string {
  return `probe-${name}`;
}

export function writeGroupFile(group: string, name: string, value: number | string): void {
  writeFileSync(join(group, name), String(value));
}

/** False when the kernel has no such file. */
export function writeOptionalGroupFile(
  group: string,
  name: string,
  value: number | string,
): boolean {
  try {
    writeGroupFile(group, name, value);
    return true;
  } catch (error) {
    if (getErrorCode(error) === "ENOENT" || getErrorCode(error) === "EACCES") return false;
    throw error;
  }
}

/** Undefined when group or file is gone. */
export function readGroupFile(group: string, name: string): string | undefined {
  try {
    return readFileSync(join(group, name), "utf8");
  } catch (error) {
    if (isGone(error)) return undefined;
    throw error;
  }
}

/** The number after `key` in a file of "key value" lines, or 0. */
export function parseCounter(text: string, key: string): number {
  const match = new RegExp(`^${key} (\\d+)$`, "m").exec(text);
  return Number(match?.[1] ?? 0);
}

export function listSubgroups(group: string): readonly string[] {
  try {
    return readdirSync(group, { withFileTypes: true })
      .filter((entry) => entry.isDirectory())
      .map(({ name }) => name);
  } catch (error) {
    if (isGone(error)) return [];
    throw error;
  }
}

/** Pids in a group and all below it. */
export function listPids(group: string): readonly number[] {
  const own = (readGroupFile(group, "cgroup.procs") ?? "")
    .split("\n")
    .filter((line) => line !== "");
  return [
    ...own.map(Number),
    ...listSubgroups(group).flatMap((name) => listPids(join(group, name))),
  ];
}

/** Removes a group and all below it; true when it is gone. The kernel refuses while a process is in one. */
export function removeGroup(group: string): boolean {
  const below = listSubgroups(group).map((name) => removeGroup(join(group, name)));
  if (below.includes(false)) return false;
  try {
    rmdirSync(group);
    return true;
  } catch (error) {
    if (isGone(error)) return true;
    if (getErrorCode(error) === "EBUSY") return false;
    throw error;
  }
}

/** Removes an agent's group, and the one above it when no other agent is left in it. */
export function removeOwnGroup(group: string): boolean {
  const isGone = removeGroup(group);
  if (isGone && listSubgroups(dirname(group)).length === 0) removeGroup(dirname(group));
  return isGone;
}

/** ENODEV: the group was removed while its file was open. */
function isGone(error: unknown): boolean {
  return getErrorCode(error) === "ENOENT" || getErrorCode(error) === "ENODEV";
}
