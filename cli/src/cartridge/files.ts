/** The `files` of a recipe as entries of a layer. */
import { lstat, realpath } from "node:fs/promises";
import { isAbsolute, join, sep } from "node:path";
import { Readable } from "node:stream";

import { getErrorCode } from "@strata/protocol/coded-error";

import { CliError } from "../errors.ts";
import { comparePaths, type Entry } from "./entry.ts";
import type { FileStep } from "./recipe.ts";
import { readOne, readTree } from "./tree.ts";

export type FilesOptions = {
  /** Where `from` is looked up: the recipe's folder. */
  readonly folder: string;
  /** Folders and links of the layers below, by path. A layer that names a folder again says its mode and owner
   * again, so parents are taken from here. */
  readonly below: ReadonlyMap<string, Entry>;
  /** Entries that are there before the first step. */
  readonly always: readonly Entry[];
  readonly onSkipped: (path: string) => void;
};

/** Every container has these to mount on; a cartridge without a base gets them. */
export const skeleton: readonly Entry[] = ["dev", "etc", "proc", "run", "sys", "tmp"].map((path) =>
  aFolder(path, path === "tmp" ? 0o1777 : 0o755),
);

/** Entries in the archive's order; of two steps with one path, the later counts. Parents are made where missing.
 * @throws CliError SOURCE_INVALID for a missing source, or a path that leads through a link. */
export async function collectFiles(
  steps: readonly FileStep[],
  options: FilesOptions,
): Promise<readonly Entry[]> {
  const byPath = new Map(options.always.map((entry) => [entry.path, entry]));
  for (const step of steps) {
    for (const entry of await readStep(step, options)) byPath.set(entry.path, entry);
  }
  for (const path of byPath.keys()) {
    for (const parent of parentsOf(path)) {
      const known = byPath.get(parent) ?? options.below.get(parent) ?? aFolder(parent, 0o755);
      if (known.type !== "directory") throw leadsThrough(path, known);
      byPath.set(parent, known);
    }
  }
  return [...byPath.values()].toSorted((a, b) => comparePaths(a.path, b.path));
}

async function readStep(step: FileStep, options: FilesOptions): Promise<readonly Entry[]> {
  const path = step.to.slice(1);
  if ("link" in step)
    return [{ path, mode: 0o777, uid: 0, gid: 0, type: "symlink", target: step.link }];
  const [uid = 0, gid = 0] = step.owner.split(":").map(Number);
  const mode = step.mode === undefined ? undefined : Number.parseInt(step.mode, 8);
  if ("from" in step) {
    const copied = await copyFrom(step.from, path, options);
    return copied.map((entry) => {
      const changed = mode !== undefined && entry.type === "file";
      return { ...entry, uid, gid, mode: changed ? mode : entry.mode };
    });
  }
  if ("text" in step) {
    const bytes = Buffer.from(step.text);
    const open = (): Readable => Readable.from([bytes]);
    return [{ path, mode: mode ?? 0o644, uid, gid, type: "file", size: bytes.length, open }];
  }
  return [{ ...aFolder(path, mode ?? 0o755), uid, gid }];
}

async function copyFrom(
  from: string,
  to: string,
  options: FilesOptions,
): Promise<readonly Entry[]> {
  const source = await locate(from, options.folder);
  const stats = await lstat(source);
  if (!stats.isDirectory()) {
    const entry = await readOne(source, to);
    if (entry === undefined)
      throw new CliError("SOURCE_INVALID", `files: ${from} is a device or a socket`);
    return [entry];
  }
  const entries = await readTree(source, options);
  return [aFolder(to, stats.mode & 0o7777), ...entries.map((entry) => moveBelow(to, entry))];
}

function moveBelow(to: string, entry: Entry): Entry {
  const path = `${to}/${entry.path}`;
  return entry.type === "hardlink"
    ? { ...entry, path, target: `${to}/${entry.target}` }
    : { ...entry, path };
}

/** A relative `from` stays inside the recipe's folder, links included; an absolute one is meant as it is. */
async function locate(from: string, folder: string): Promise<string> {
  try {
    const found = await realpath(isAbsolute(from) ? from : join(folder, from));
    const root = await realpath(folder);
    if (isAbsolute(from) || found === root || found.startsWith(root + sep)) return found;
  } catch (cause) {
    if (getErrorCode(cause) !== "ENOENT") throw cause;
    throw new CliError("SOURCE_INVALID", `files: ${from} does not exist`, {
      cause,
      hint: isAbsolute(from) ? "install what brings it" : `it is looked up in ${folder}`,
    });
  }
  throw new CliError("SOURCE_INVALID", `files: ${from} leads out of ${folder}`, {
    hint: "write an absolute path when a file of this machine is meant",
  });
}

/** A folder entry would take the link's place: `/bin/x` over a base where `/bin` is a link would hide all of it. */
function leadsThrough(path: string, known: Entry): CliError {
  const target = known.type === "symlink" ? `a link to ${known.target}` : "not a folder";
  return new CliError(
    "SOURCE_INVALID",
    `files: /${path} leads through /${known.path}, which is ${target}`,
    {
      hint: "write the path that the link leads to",
    },
  );
}

function parentsOf(path: string): readonly string[] {
  const parts = path.split("/");
  return parts.slice(1).map((_, index) => parts.slice(0, index + 1).join("/"));
}

function aFolder(path: string, mode: number): Entry {
  return { path, mode, uid: 0, gid: 0, type: "directory" };
}
