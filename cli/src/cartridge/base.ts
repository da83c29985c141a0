/** The lowest layer of a cartridge: Debian packages, or a root file system that is there. */
import { constants } from "node:fs";
import { copyFile, readdir, readFile, rename, stat, writeFile } from "node:fs/promises";
import { join } from "node:path";

import { getErrorCode } from "@strata/protocol/coded-error";
import { digestHex, parseDigest } from "@strata/protocol/oci/digest";
import { z } from "zod";

import { removeTree } from "../remove-tree.ts";
import { openArchive } from "./archive.ts";
import { debianKey, type DebianSource, findDebianSource, startDebian } from "./debian.ts";
import type { BuiltLayer } from "./image.ts";
import { packEntries, writeLayer } from "./layer.ts";
import { blobPath, blobsOf } from "./layout.ts";
import type { BuildOptions } from "./options.ts";
import type { DebianBase } from "./recipe.ts";
import type { Rootfs } from "./rootfs.ts";
import { scratchBeside } from "./scratch.ts";
import { runTool } from "./tool.ts";
import { readTree } from "./tree.ts";

/** How many Debian layers are kept for the next build. */
const CACHED_MAX = 8;

const Digest = z.string().transform(parseDigest);
const CachedLayer = z.object({
  mediaType: z.string(),
  digest: Digest,
  size: z.int(),
  diffId: Digest,
  createdBy: z.string(),
});

/** Installs the packages, or takes the layer from the cache when nothing that it depends on has changed. */
export async function addDebianBase(base: DebianBase, options: BuildOptions): Promise<BuiltLayer> {
  const source = await findDebianSource(base);
  const cache = join(options.cacheFolder, "debian");
  const entry = join(
    cache,
    `${debianKey(base, source, options.epochSeconds)}-${options.compression}`,
  );
  if (options.isFresh) await removeTree(entry);
  const found = await stat(entry).catch(() => undefined);
  if (found === undefined) {
    options.onStep(`install ${base.packages.join(", ")} from Debian ${source.suite}`);
    await using scratch = await scratchBeside(entry);
    const layer = await installDebian({ base, source }, scratch.path, options);
    await writeFile(join(scratch.path, "layer.json"), JSON.stringify(layer));
    await keep(scratch.path, entry);
    await prune(cache);
  } else {
    options.onStep(`take Debian ${source.suite} with ${base.packages.join(", ")} from the cache`);
  }
  const layer = CachedLayer.parse(JSON.parse(await readFile(join(entry, "layer.json"), "utf8")));
  const blob = join(entry, digestHex(layer.digest));
  // Where the file system can let two files share their bytes, it does.
  await copyFile(blob, blobPath(options.layout, layer.digest), constants.COPYFILE_FICLONE);
  return layer;
}

async function installDebian(
  what: { readonly base: DebianBase; readonly source: DebianSource },
  folder: string,
  options: BuildOptions,
): Promise<BuiltLayer> {
  await using tool = startDebian(what.base, what.source, options);
  const written = writeLayer(tool.stdout, { blobs: folder, compression: options.compression });
  // A tool that fails ends its output early: its own error is the one to show.
  const [layer] = await Promise.all([written, tool.done]);
  return {
    ...layer,
    createdBy: `debian ${what.source.suite}: ${what.base.packages.toSorted().join(" ")}`,
  };
}

/** A build of the same base at the same time may have been quicker; its layer is as good. */
async function keep(made: string, entry: string): Promise<void> {
  try {
    await rename(made, entry);
  } catch (error) {
    if (!["ENOTEMPTY", "EEXIST"].includes(getErrorCode(error) ?? "")) throw error;
  }
}

async function prune(cache: string): Promise<void> {
  const names = (await readdir(cache)).filter((name) => !name.startsWith("."));
  const aged = await Promise.all(
    names.map(async (name) => ({
      path: join(cache, name),
      at: (await stat(join(cache, name))).mtimeMs,
    })),
  );
  const old = aged.toSorted((a, b) => b.at - a.at).slice(CACHED_MAX);
  await Promise.all(old.map(({ path }) => removeTree(path)));
}

/** A tarball is taken byte for byte, attributes and all; a folder is packed with fixed times. */
export async function addRootfsBase(rootfs: Rootfs, options: BuildOptions): Promise<BuiltLayer> {
  options.onStep(`take the root file system from ${rootfs.path}`);
  const to = { blobs: blobsOf(options.layout), compression: options.compression };
  const createdBy = `root file system: ${rootfs.kind}`;
  switch (rootfs.kind) {
    case "archive":
      return { ...(await writeLayer(await openArchive(rootfs.path), to)), createdBy };
    case "folder":
      return { ...(await packFolder(rootfs.path, to, options)), createdBy };
    case "unified": {
      await using scratch = await scratchBeside(options.layout);
      const args = ["-x", "-p", "--numeric-owner", "-C", scratch.path, "-f", "-"];
      await runTool({ command: "tar", args, package: "tar" }, await openArchive(rootfs.path));
      return { ...(await packFolder(join(scratch.path, "rootfs"), to, options)), createdBy };
    }
    default:
      return rootfs.kind satisfies never;
  }
}

async function packFolder(
  folder: string,
  to: Parameters<typeof writeLayer>[1],
  options: BuildOptions,
): ReturnType<typeof writeLayer> {
  const entries = await readTree(folder, { onSkipped: skippedWarning(options) });
  return writeLayer(packEntries(entries, options.epochSeconds), to);
}

/** Says of devices and sockets that they are left out. */
export function skippedWarning(options: BuildOptions): (path: string) => void {
  return (path) => options.onWarning(`/${path} is a device or a socket and is left out`);
}
