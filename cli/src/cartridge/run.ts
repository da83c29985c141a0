/** The `run` lines of a recipe: carried out in a copy of the layers so far, then compared with it. */
import type { Stats } from "node:fs";
import { mkdir } from "node:fs/promises";
import { join } from "node:path";
import { Readable } from "node:stream";

import { openArchive } from "./archive.ts";
import { comparePaths, type Entry } from "./entry.ts";
import { runTool } from "./tool.ts";
import { listTree, readTree } from "./tree.ts";

export type RunOptions = {
  /** Blobs of the layers so far, lowest first. */
  readonly layers: readonly string[];
  /** An empty folder for the copy. */
  readonly scratch: string;
  readonly env: Readonly<Record<string, string>>;
  readonly epochSeconds: number;
  readonly onLine: (line: string) => void;
  readonly onSkipped: (path: string) => void;
};

/** What a comparison looks at: the change time moves with every write, and no program can set it. */
type Seen = { readonly inode: number; readonly changed: number; readonly isFolder: boolean };

/** Runs the lines and gives back what they changed, as entries of one more layer. */
export async function runLines(
  lines: readonly string[],
  options: RunOptions,
): Promise<readonly Entry[]> {
  const root = join(options.scratch, "root");
  await mkdir(root, { mode: 0o755 });
  for (const layer of options.layers) await unpackOver(layer, root);
  const before = await look(root);
  for (const line of lines) await runLine(line, root, options);
  const after = await look(root);
  const changed = await readTree(root, {
    onSkipped: options.onSkipped,
    includes: (path, stats) => isChanged(before.get(path), stats),
  });
  return [...changed, ...whiteouts(before, after)].toSorted((a, b) => comparePaths(a.path, b.path));
}

/** GNU tar is good enough here: these layers are our own or of the recipe's author, who runs code anyway. */
async function unpackOver(layer: string, root: string): Promise<void> {
  const args = [
    "-x",
    "-p",
    "--numeric-owner",
    "--xattrs",
    "--xattrs-include=*",
    "-C",
    root,
    "-f",
    "-",
  ];
  await runTool({ command: "tar", args, package: "tar" }, await openArchive(layer));
}

/** New namespaces for mounts, processes, names and network: nothing of a line outlives it, and what it fetches
 * cannot make two builds differ. */
async function runLine(line: string, root: string, options: RunOptions): Promise<void> {
  const script = [
    "set -e",
    'mkdir -p "$1/proc" "$1/dev"',
    'mount -t proc proc "$1/proc"',
    'mount -t tmpfs -o mode=755 tmpfs "$1/dev"',
    'for name in null zero random urandom; do : >"$1/dev/$name"; mount --bind "/dev/$name" "$1/dev/$name"; done',
    'exec chroot "$1" /bin/sh -ec "$2"',
  ].join("\n");
  const env = Object.entries({
    PATH: "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    HOME: "/root",
    SOURCE_DATE_EPOCH: String(options.epochSeconds),
    ...options.env,
  }).map(([name, value]) => `${name}=${value}`);
  const unshare = [
    "--mount",
    "--pid",
    "--fork",
    "--uts",
    "--ipc",
    "--net",
    "--propagation",
    "private",
  ];
  const output = await runTool({
    command: "unshare",
    args: [...unshare, "--", "env", "-i", ...env, "sh", "-c", script, "sh", root, line],
    package: "util-linux",
    onLine: options.onLine,
  });
  for (const text of output.split("\n")) if (text !== "") options.onLine(text);
}

async function look(root: string): Promise<ReadonlyMap<string, Seen>> {
  const paths = await listTree(root);
  return new Map(
    paths.map(([path, stats]) => [
      path,
      { inode: stats.ino, changed: stats.ctimeMs, isFolder: stats.isDirectory() },
    ]),
  );
}

function isChanged(before: Seen | undefined, after: Stats): boolean {
  return before === undefined || before.inode !== after.ino || before.changed !== after.ctimeMs;
}

/** image-spec v1.1, "Whiteouts": `.wh.NAME` for what is gone, once for a whole folder. */
function whiteouts(
  before: ReadonlyMap<string, Seen>,
  after: ReadonlyMap<string, Seen>,
): readonly Entry[] {
  return [...before.keys()]
    .filter((path) => !after.has(path) && isFolderOf(after, parentOf(path)))
    .map((path) => {
      const name = path.slice(path.lastIndexOf("/") + 1);
      const parent = parentOf(path);
      return {
        path: `${parent === "" ? "" : `${parent}/`}.wh.${name}`,
        mode: 0o644,
        uid: 0,
        gid: 0,
        type: "file",
        size: 0,
        open: () => Readable.from([]),
      };
    });
}

/** Below a folder that is itself gone, or is a file now, nothing needs saying. */
function isFolderOf(paths: ReadonlyMap<string, Seen>, folder: string): boolean {
  return folder === "" || paths.get(folder)?.isFolder === true;
}

function parentOf(path: string): string {
  const slash = path.lastIndexOf("/");
  return slash < 0 ? "" : path.slice(0, slash);
}
