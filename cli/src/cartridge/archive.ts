/** Tarballs that others made: opened whatever their compression, and looked through for folders and links. */
import { createReadStream } from "node:fs";
import { open } from "node:fs/promises";
import { Readable, type Transform } from "node:stream";
import { createGunzip, createZstdDecompress } from "node:zlib";

import type { Compression } from "@strata/protocol/oci/media-type";
import tar from "tar-stream";

import { chunksOf } from "../chunks.ts";
import { CliError } from "../errors.ts";
import type { Entry } from "./entry.ts";
import { startTool } from "./tool.ts";

const READ_BYTES = 256 * 1024;
type Packing = Compression | "xz" | "bzip2";

const magics: readonly (readonly [Packing, string])[] = [
  ["gzip", "1f8b"],
  ["zstd", "28b52ffd"],
  ["xz", "fd377a585a00"],
  ["bzip2", "425a68"],
];

/** The archive inside a file, by what its first bytes say it is packed with. */
export async function openArchive(file: string): Promise<Readable> {
  const packing = await detectPacking(file);
  const packed = createReadStream(file, { highWaterMark: READ_BYTES });
  if (packing === "xz" || packing === "bzip2") {
    const names = { xz: "xz-utils", bzip2: "bzip2" };
    return outputOf(packing, names[packing], packed);
  }
  const through = decompressor(packing);
  if (through === undefined) return packed;
  packed.on("error", (error) => through.destroy(error));
  return packed.pipe(through);
}

/** Output of a tool that, unlike a bare pipe, fails when the tool does. */
function outputOf(command: string, debianPackage: string, input: Readable): Readable {
  async function* read(): AsyncGenerator<Buffer> {
    await using tool = startTool({ command, args: ["-dc"], package: debianPackage }, input);
    yield* chunksOf(tool.stdout);
    await tool.done;
  }
  return Readable.from(read(), { objectMode: false });
}

function decompressor(packing: Compression): Transform | undefined {
  if (packing === "gzip") return createGunzip({ chunkSize: READ_BYTES });
  if (packing === "zstd") return createZstdDecompress({ chunkSize: READ_BYTES });
  return undefined;
}

async function detectPacking(file: string): Promise<Packing> {
  await using handle = await open(file);
  const { buffer, bytesRead } = await handle.read(Buffer.alloc(512), 0, 512, 0);
  const start = buffer.toString("hex", 0, bytesRead);
  const found = magics.find(([, magic]) => start.startsWith(magic));
  if (found !== undefined) return found[0];
  // POSIX.1-1988: "ustar" at byte 257 of the first header.
  if (buffer.toString("latin1", 257, 262) === "ustar") return "none";
  throw new CliError("SOURCE_INVALID", `${file} is not a tar archive`, {
    hint: "give a .tar, .tar.gz, .tar.xz, .tar.zst or .tar.bz2; a squashfs can be unpacked with unsquashfs first",
  });
}

/** The folders and links of an archive by path, whatever its names begin with (`./`, `/`). */
export async function listFolders(archive: Readable): Promise<ReadonlyMap<string, Entry>> {
  const found = new Map<string, Entry>();
  const extract = archive.pipe(tar.extract());
  archive.on("error", (error) => extract.destroy(error));
  for await (const entry of extract) {
    const { name, type, mode, uid, gid, linkname } = entry.header;
    const path = name.replace(/^(?:\.?\/)+/, "").replace(/\/+$/, "");
    const common = { path, mode, uid, gid };
    if (type === "directory" && path !== "" && path !== ".") found.set(path, { ...common, type });
    else if (type === "symlink") found.set(path, { ...common, type, target: linkname });
    entry.resume();
  }
  return found;
}
