/** Unpacks archives in this process, and looks at what came of them with GNU tar. */
import { execFileSync } from "node:child_process";
import { createHash } from "node:crypto";
import { join } from "node:path";

import { finishTree } from "@strata/agent/layer/finish-tree";
import { defaultLayerLimits, type LayerLimits } from "@strata/agent/layer/limits";
import { fillDirectory } from "@strata/agent/layer/staged-directory";
import { newRoot } from "@strata/agent/layer/tree";
import { type UnpackedLayer, unpackLayer } from "@strata/agent/layer/unpack-layer";
import type { WhiteoutPolicy } from "@strata/agent/layer/unpacker";

import { aTemporaryDirectory, type TemporaryDirectory } from "../../support/temporary.ts";
import { readEntries } from "./read-entries.ts";

export type UnpackSettings = {
  readonly policy?: WhiteoutPolicy;
  readonly limits?: Partial<LayerLimits>;
};

/** Unpacks layers one over the other into a folder that must be missing or empty. */
export async function unpackInto(
  directory: string,
  layers: readonly Buffer[],
  { policy = "overlay", limits = {} }: UnpackSettings = {},
): Promise<readonly UnpackedLayer[]> {
  return fillDirectory(directory, async () => {
    const root = newRoot();
    const reports: UnpackedLayer[] = [];
    for (const [position, layer] of layers.entries()) {
      const options = { root, policy, layer: position + 1, algorithm: "sha256" } as const;
      reports.push(
        await unpackLayer(inChunks(layer), {
          ...options,
          limits: { ...defaultLayerLimits, ...limits },
        }),
      );
    }
    await finishTree(root);
    return reports;
  });
}

async function* inChunks(bytes: Buffer): AsyncGenerator<Buffer, void> {
  for (let at = 0; at < bytes.length; at += 65_536) yield bytes.subarray(at, at + 65_536);
  await Promise.resolve();
}

export type Unpacked = TemporaryDirectory & {
  /** Everything in it: see `describeTree`. */
  readonly tree: readonly string[];
  readonly directory: string;
  readonly reports: readonly UnpackedLayer[];
};

/** A folder into which these layers were unpacked. */
export async function anUnpacked(
  layers: readonly Buffer[],
  settings: UnpackSettings = {},
): Promise<Unpacked> {
  const folder = aTemporaryDirectory();
  const directory = join(folder.path, "out");
  try {
    const reports = await unpackInto(directory, layers, settings);
    return { ...folder, directory, reports, tree: describeTree(directory) };
  } catch (error) {
    await folder[Symbol.asyncDispose]();
    throw error;
  }
}

/** One line for each entry of a tree: type, mode, owner, time, name, target, attributes, content. Sorted by name.
 * Hard links are lines of type `hardlink`. The root is left out. */
export function describeTree(directory: string): readonly string[] {
  return describeArchive(archiveOf(directory));
}

/** The same of what GNU tar with `describingArguments` made of a tree. */
export function describeArchive(archive: Buffer): readonly string[] {
  return readEntries(archive)
    .filter(({ name }) => name !== "./")
    .map((entry) => {
      const { type, mode, uid, gid, mtimeSeconds, mtimeNanoseconds, name, linkName, xattrs, size } =
        entry;
      const content = createHash("sha256")
        .update(JSON.stringify(entry.pieces))
        .digest("hex")
        .slice(0, 12);
      return JSON.stringify([
        type,
        mode.toString(8),
        `${uid}:${gid}`,
        `${mtimeSeconds}.${mtimeNanoseconds}`,
        name.replace(/^\.\//, ""),
        linkName,
        xattrs
          .map((xattr) => `${xattr.name}=${Buffer.from(xattr.value, "latin1").toString("hex")}`)
          .toSorted(),
        size === 0 ? "" : content,
      ]);
    });
}

/** Just type and name, for tests that care about no more. */
export function outline(tree: readonly string[]): readonly string[] {
  return tree.map((line) => {
    const [type, , , , name, linkName]: readonly string[] = JSON.parse(line);
    return linkName ? `${type} ${name} -> ${linkName}` : `${type} ${name}`;
  });
}

const everything = ["--format=pax", "--xattrs", "--xattrs-include=*"];
const common = ["--sort=name", "--numeric-owner", "-cf", "-", "."];
/** For GNU tar in the root of a tree, to `describeArchive`. */
export const describingArguments: readonly string[] = [...everything, ...common];

/** What GNU tar makes of a folder, by default with everything that it can keep. */
export function archiveOf(directory: string, options: readonly string[] = everything): Buffer {
  return execFileSync("tar", [...options, "-C", directory, ...common], {
    maxBuffer: 1024 ** 3,
    stdio: ["ignore", "pipe", "ignore"],
  });
}
