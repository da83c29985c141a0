/** Finds the root file system that somebody already has: a folder, a tarball, or an image for LXC or Incus, which is
 * a tarball (or folder) and metadata, apart or in one. */
import { createReadStream } from "node:fs";
import { readdir, stat } from "node:fs/promises";
import { basename, dirname, join } from "node:path";
import { text } from "node:stream/consumers";

import { getErrorCode } from "@strata/protocol/coded-error";
import tar from "tar-stream";
import { parseDocument } from "yaml";
import { z } from "zod";

import { CliError } from "../errors.ts";
import { openArchive } from "./archive.ts";

export type Rootfs = {
  /** `unified`: an archive with `metadata.yaml` and the tree below `rootfs/`. */
  readonly kind: "folder" | "archive" | "unified";
  readonly path: string;
  /** GOARCH, where the metadata says it. */
  readonly architecture: string | undefined;
  readonly description: string | undefined;
};

const METADATA_BYTES_MAX = 1024 * 1024;
/** A unified image has its metadata at the front; what follows is not looked through. */
const ENTRIES_PEEKED = 100;
const rootfsArchive = /^rootfs\.tar(?:\.\w+)?$/;
const metadataArchive = /^(?:metadata|meta|incus|lxd)\.tar(?:\.\w+)?$/;
const rootFolders = ["bin", "etc", "sbin", "usr"];

const architectures: Readonly<Record<string, string>> = {
  x86_64: "amd64",
  amd64: "amd64",
  aarch64: "arm64",
  arm64: "arm64",
};

/** Incus documentation, "Image format": the fields that an OCI image has a place for. */
const Metadata = z.object({
  architecture: z.string().optional(),
  properties: z.object({ description: z.coerce.string().optional() }).optional(),
});
type Described = Pick<Rootfs, "architecture" | "description">;

const undescribed: Described = { architecture: undefined, description: undefined };

/** @throws CliError SOURCE_INVALID */
export async function findRootfs(path: string): Promise<Rootfs> {
  const stats = await stat(path).catch((cause: unknown) => {
    if (getErrorCode(cause) !== "ENOENT") throw cause;
    throw new CliError("SOURCE_INVALID", `${path} does not exist`, { cause });
  });
  return stats.isDirectory() ? findInFolder(path) : findInArchive(path);
}

async function findInFolder(path: string): Promise<Rootfs> {
  const names = await readdir(path);
  const archive = names.find((name) => rootfsArchive.test(name));
  if (archive !== undefined) {
    return { kind: "archive", path: join(path, archive), ...(await describe(path, names)) };
  }
  if (names.includes("rootfs") && names.includes("metadata.yaml")) {
    return { kind: "folder", path: join(path, "rootfs"), ...(await describe(path, names)) };
  }
  if (names.some((name) => rootFolders.includes(name)))
    return { kind: "folder", path, ...undescribed };
  throw new CliError(
    "SOURCE_INVALID",
    `${path} has no cartridge.yaml, no rootfs.tar.* and no root file system`,
    {
      hint: names.includes("rootfs.squashfs")
        ? "unpack the squashfs first: unsquashfs -d rootfs rootfs.squashfs"
        : "write a cartridge.yaml in it; examples/hello has a short one",
    },
  );
}

async function findInArchive(path: string): Promise<Rootfs> {
  const inside = await peek(path);
  if (inside.isUnified) return { kind: "unified", path, ...describeText(inside.metadata, path) };
  const folder = dirname(path);
  const isLxc = rootfsArchive.test(basename(path));
  const described = isLxc ? await describe(folder, await readdir(folder)) : undescribed;
  return { kind: "archive", path, ...described };
}

async function describe(folder: string, names: readonly string[]): Promise<Described> {
  if (names.includes("metadata.yaml")) {
    const file = join(folder, "metadata.yaml");
    return describeText(await text(createReadStream(file, { end: METADATA_BYTES_MAX })), file);
  }
  const archive = names.find((name) => metadataArchive.test(name));
  if (archive === undefined) return undescribed;
  const file = join(folder, archive);
  return describeText((await peek(file)).metadata, file);
}

/** The metadata of an archive, and whether it is one that holds its tree below `rootfs/`. */
async function peek(
  file: string,
): Promise<{ readonly isUnified: boolean; readonly metadata: string }> {
  const archive = await openArchive(file);
  const extract = archive.pipe(tar.extract());
  archive.on("error", (error) => extract.destroy(error));
  let seen = 0;
  let hasTree = false;
  let metadata = "";
  try {
    for await (const entry of extract) {
      const name = entry.header.name.replace(/^\.\//, "");
      if (name.startsWith("rootfs/")) hasTree = true;
      if (name === "metadata.yaml" && (entry.header.size ?? 0) <= METADATA_BYTES_MAX) {
        metadata = await text(entry);
      } else {
        entry.resume();
      }
      seen += 1;
      if (seen >= ENTRIES_PEEKED || (hasTree && metadata !== "")) break;
    }
  } finally {
    archive.destroy();
  }
  return { isUnified: hasTree && metadata !== "", metadata };
}

function describeText(yaml: string, file: string): Described {
  const document = parseDocument(yaml);
  const result = Metadata.nullable().safeParse(document.toJS({ maxAliasCount: 100 }));
  if (document.errors.length > 0 || !result.success) {
    throw new CliError(
      "SOURCE_INVALID",
      `metadata.yaml of ${file} is not what LXC and Incus write`,
      {
        cause: document.errors[0] ?? result.error,
      },
    );
  }
  const named = result.data?.architecture;
  const architecture = named === undefined ? undefined : architectures[named];
  if (named !== undefined && architecture === undefined) {
    throw new CliError("SOURCE_INVALID", `${file} is for ${named}; nodes are amd64 or arm64`);
  }
  return { architecture, description: result.data?.properties?.description };
}
