/** A file or folder of this machine as a tar archive, read as it is sent. */
import { createReadStream, type Stats } from "node:fs";
import { lstat, opendir, readlink, stat } from "node:fs/promises";
import { join } from "node:path";
import { Readable } from "node:stream";
import { pipeline } from "node:stream/promises";

import tar, { type Pack } from "tar-stream";

import { chunksOf } from "../chunks.ts";
import { CliError } from "../errors.ts";

export type PackOptions = {
  /** The name of the tree in the archive. */
  readonly top: string;
  /** Told of what cannot be copied: devices, fifos and sockets. */
  readonly onSkipped: (path: string) => void;
};

const DEPTH_MAX = 512;
const READ_BYTES = 256 * 1024;

/** Root is the owner of everything in it: people's ids here mean nothing there. A link is packed as a link, unless
 * `path` is one and ends in a slash.
 * @throws CliError USAGE when there is no such file */
export async function packTree(path: string, { top, onSkipped }: PackOptions): Promise<Readable> {
  const stats = await (/\/\.?$/.test(path) ? stat(path) : lstat(path)).catch((cause: unknown) => {
    throw new CliError("USAGE", `${path} cannot be read`, { cause });
  });
  const pack = tar.pack();
  const found = { path, name: top, stats, depth: 0 };
  addEntry(pack, found, onSkipped).then(
    () => pack.finalize(),
    (error: unknown) => pack.destroy(error instanceof Error ? error : new Error(String(error))),
  );
  // tar-stream brings its own streams; Node's pipeline wants Node's.
  return Readable.from(chunksOf(pack), { objectMode: false });
}

type Found = {
  readonly path: string;
  readonly name: string;
  readonly stats: Stats;
  readonly depth: number;
};

async function addEntry(
  pack: Pack,
  found: Found,
  onSkipped: PackOptions["onSkipped"],
): Promise<void> {
  const { path, name, stats } = found;
  const common = {
    name,
    // tar-stream takes mode 0 for none given, and masks the bits above these twelve away.
    mode: (stats.mode & 0o7777) | 0o100000,
    uid: 0,
    gid: 0,
    uname: "",
    gname: "",
    mtime: stats.mtime,
  };
  if (stats.isFile()) return await addFile(pack, { ...common, size: stats.size }, path);
  if (stats.isSymbolicLink()) {
    const linkname = await readlink(path);
    return await addHeader(pack, { ...common, type: "symlink", linkname });
  }
  if (!stats.isDirectory()) return onSkipped(path);
  await addHeader(pack, { ...common, name: `${name}/`, type: "directory" });
  if (found.depth >= DEPTH_MAX)
    throw new CliError("USAGE", `${path} is over ${DEPTH_MAX} folders deep`);
  for await (const { name: below } of await opendir(path, { encoding: "utf8" })) {
    const at = join(path, below);
    const belowStats = await lstat(at).catch((cause: unknown) => {
      throw new CliError("USAGE", `${at} cannot be read`, {
        cause,
        hint: "it may just have gone; names that are not UTF-8 go through tar: tar -c … | strata cp - PROCESS:PATH",
      });
    });
    const next = {
      path: at,
      name: `${name}/${below}`,
      stats: belowStats,
      depth: found.depth + 1,
    };
    await addEntry(pack, next, onSkipped);
  }
}

type Header = Parameters<Pack["entry"]>[0];

function addHeader(pack: Pack, header: Header): Promise<void> {
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  pack.entry(header, Buffer.alloc(0), (error) => (error ? reject(error) : resolve()));
  return promise;
}

async function addFile(
  pack: Pack,
  header: Header & { readonly size: number },
  path: string,
): Promise<void> {
  if (header.size === 0) return await addHeader(pack, { ...header, type: "file" });
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  const sink = pack.entry({ ...header, type: "file" }, (error) =>
    error ? reject(error) : resolve(),
  );
  promise.catch(() => undefined);
  await pipeline(exactly(path, header.size), sink);
  await promise;
}

/** A file that changes meanwhile is cut, or filled up with zeros, to the size that was announced. */
async function* exactly(path: string, size: number): AsyncGenerator<Buffer> {
  let left = size;
  for await (const chunk of chunksOf(
    createReadStream(path, { end: size - 1, highWaterMark: READ_BYTES }),
  )) {
    yield chunk;
    left -= chunk.length;
  }
  for (; left > 0; left -= READ_BYTES) yield Buffer.alloc(Math.min(left, READ_BYTES));
}
