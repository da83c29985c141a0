/** Reads a folder of the host as entries of a layer. */
import { createReadStream, type Stats } from "node:fs";
import { lstat, readdir, readlink } from "node:fs/promises";
import { join } from "node:path";

import { CliError } from "../errors.ts";
import { comparePaths, type Entry } from "./entry.ts";

export type TreeOptions = {
  /** Told about what cannot be in a cartridge and is left out: devices and sockets. */
  readonly onSkipped: (path: string) => void;
  /** Says which paths to take; a folder that is not taken is still looked into. Left out: all. */
  readonly includes?: (path: string, stats: Stats) => boolean;
};

const READ_BYTES = 256 * 1024;
const DEPTH_MAX = 256;

/** Everything below `root`, sorted. Extended attributes are not read: a cartridge runs with `no_new_privs`,
 * under which file capabilities have no effect. */
export async function readTree(root: string, options: TreeOptions): Promise<readonly Entry[]> {
  const links = new Map<string, string>();
  const entries: Entry[] = [];
  for (const [path, stats] of await listTree(root)) {
    if (options.includes !== undefined && !options.includes(path, stats)) continue;
    const entry = await readEntry({ file: join(root, path), path, stats, links });
    if (entry === undefined) options.onSkipped(path);
    else entries.push(entry);
  }
  return entries;
}

/** One file or link of the host, to be called `path`; undefined for a device or a socket. */
export async function readOne(file: string, path: string): Promise<Entry | undefined> {
  return readEntry({ file, path, stats: await lstat(file), links: new Map() });
}

/** The paths below `root` with what `lstat` says, in the order of archive entries. */
export async function listTree(root: string): Promise<readonly (readonly [string, Stats])[]> {
  const found: [string, Stats][] = [];
  async function visit(folder: string, depth: number): Promise<void> {
    if (depth > DEPTH_MAX)
      throw new CliError("SOURCE_INVALID", `${folder} is over ${DEPTH_MAX} folders deep`);
    for (const name of await readNames(join(root, folder))) {
      const path = folder === "" ? name : `${folder}/${name}`;
      const stats = await lstat(join(root, path));
      found.push([path, stats]);
      if (stats.isDirectory()) await visit(path, depth + 1);
    }
  }
  await visit("", 0);
  return found.toSorted(([a], [b]) => comparePaths(a, b));
}

async function readNames(folder: string): Promise<readonly string[]> {
  const names = await readdir(folder, { encoding: "buffer" });
  return names.map((bytes) => {
    const name = bytes.toString("utf8");
    if (Buffer.from(name).equals(bytes)) return name;
    throw new CliError(
      "SOURCE_INVALID",
      `${folder} has a name that is not UTF-8: ${JSON.stringify(name)}`,
      {
        hint: "rename it, or give the folder as a tarball, which is taken byte for byte",
      },
    );
  });
}

type Found = {
  /** The file here. */
  readonly file: string;
  /** Its name in the layer. */
  readonly path: string;
  readonly stats: Stats;
  /** First path of every file that has several. */
  readonly links: Map<string, string>;
};

async function readEntry({ file, path, stats, links }: Found): Promise<Entry | undefined> {
  const common = { path, mode: stats.mode & 0o7777, uid: stats.uid, gid: stats.gid };
  if (stats.isDirectory()) return { ...common, type: "directory" };
  if (stats.isFIFO()) return { ...common, type: "fifo" };
  if (stats.isSymbolicLink()) return { ...common, type: "symlink", target: await readlink(file) };
  if (!stats.isFile()) return undefined;
  if (stats.nlink > 1) {
    const inode = `${stats.dev}:${stats.ino}`;
    const target = links.get(inode);
    if (target !== undefined) return { ...common, type: "hardlink", target };
    links.set(inode, path);
  }
  return {
    ...common,
    type: "file",
    size: stats.size,
    open: () => createReadStream(file, { highWaterMark: READ_BYTES }),
  };
}
