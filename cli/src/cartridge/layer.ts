/** Writes one layer as a blob of an OCI layout: streamed, hashed twice on the way, never held in memory. */
import { createHash } from "node:crypto";
import { once } from "node:events";
import { createWriteStream } from "node:fs";
import { rename } from "node:fs/promises";
import { join } from "node:path";
import { Readable, Transform } from "node:stream";
import { pipeline } from "node:stream/promises";
import { createGzip, createZstdCompress } from "node:zlib";

import { type Digest, digestHex, parseDigest } from "@strata/protocol/oci/digest";
import { type Compression, mediaTypes } from "@strata/protocol/oci/media-type";
import tar, { type Pack } from "tar-stream";

import { chunksOf } from "../chunks.ts";
import { CliError } from "../errors.ts";
import type { Entry } from "./entry.ts";

export type Layer = {
  readonly mediaType: string;
  /** Of the blob, as it is stored. */
  readonly digest: Digest;
  readonly size: number;
  /** Of the archive inside. */
  readonly diffId: Digest;
};

export type LayerOptions = {
  /** The layout's `blobs/sha256`; one layer is written to it at a time. */
  readonly blobs: string;
  readonly compression: Compression;
};

const layerTypes: Readonly<Record<Compression, string>> = {
  none: mediaTypes.layer,
  gzip: mediaTypes.layerGzip,
  zstd: mediaTypes.layerZstd,
};

/** Stores an archive, byte for byte, as a layer. */
export async function writeLayer(archive: Readable, options: LayerOptions): Promise<Layer> {
  const inner = createHashing();
  const outer = createHashing();
  const partial = join(options.blobs, ".partial");
  const file = createWriteStream(partial, { flags: "wx" });
  const compressor = createCompressor(options.compression);
  await (compressor === undefined
    ? pipeline(archive, inner.through, outer.through, file)
    : pipeline(archive, inner.through, compressor, outer.through, file));
  const digest = outer.digest();
  await rename(partial, join(options.blobs, digestHex(digest)));
  return {
    mediaType: layerTypes[options.compression],
    digest,
    size: outer.size(),
    diffId: inner.digest(),
  };
}

/** An archive of these entries in the order given, every one with the same time (seconds since 1970).
 * The same entries give the same bytes. */
export function packEntries(
  entries: AsyncIterable<Entry> | Iterable<Entry>,
  mtimeSeconds: number,
): Readable {
  const pack = tar.pack();
  const mtime = new Date(mtimeSeconds * 1000);
  async function packAll(): Promise<void> {
    for await (const entry of entries) await packEntry(pack, entry, mtime);
    pack.finalize();
  }
  packAll().catch((error: unknown) => {
    pack.destroy(error instanceof Error ? error : new Error(String(error)));
  });
  // tar-stream brings its own streams; Node's pipeline wants Node's.
  return Readable.from(chunksOf(pack), { objectMode: false });
}

async function packEntry(pack: Pack, entry: Entry, mtime: Date): Promise<void> {
  const { path: name, uid, gid } = entry;
  // tar-stream takes mode 0 for none given, and masks the bits above these twelve away.
  const mode = entry.mode | 0o100000;
  const common = { name, mode, uid, gid, mtime, uname: "", gname: "" };
  switch (entry.type) {
    case "directory":
      // The slash is what other archivers write, though the type says it already.
      return packHeader(pack, { ...common, name: `${name}/`, type: "directory" });
    case "fifo":
      return packHeader(pack, { ...common, type: "fifo" });
    case "symlink":
      return packHeader(pack, { ...common, type: "symlink", linkname: entry.target });
    case "hardlink":
      return packHeader(pack, { ...common, type: "link", linkname: entry.target });
    case "file":
      return packFile(pack, { ...common, type: "file", size: entry.size }, entry.open());
    default:
      return entry satisfies never;
  }
}

type Header = Parameters<Pack["entry"]>[0];

function packHeader(pack: Pack, header: Header): Promise<void> {
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  pack.entry(header, Buffer.alloc(0), (error) => (error ? reject(error) : resolve()));
  return promise;
}

async function packFile(
  pack: Pack,
  header: Header & { size: number },
  content: Readable,
): Promise<void> {
  if (header.size === 0) {
    content.destroy();
    return packHeader(pack, header);
  }
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  const sink = pack.entry(header, (error) => (error ? reject(error) : resolve()));
  promise.catch(() => undefined);
  // When the content fails, the archive is destroyed, and with it this: nobody else listens.
  sink.on("error", reject);
  let bytes = 0;
  for await (const chunk of chunksOf(content)) {
    bytes += chunk.length;
    if (bytes > header.size) break;
    if (!sink.write(chunk)) await once(sink, "drain");
  }
  if (bytes !== header.size) {
    throw new CliError("SOURCE_INVALID", `${header.name} changed its size while it was read`, {
      hint: "build again when nothing writes to it",
    });
  }
  sink.end(null);
  return promise;
}

type Hashing = {
  readonly through: Transform;
  readonly digest: () => Digest;
  readonly size: () => number;
};

function createHashing(): Hashing {
  const hash = createHash("sha256");
  let bytes = 0;
  const through = new Transform({
    transform(chunk: Buffer, _encoding, done): void {
      bytes += chunk.length;
      hash.update(chunk);
      done(null, chunk);
    },
  });
  return { through, digest: () => parseDigest(`sha256:${hash.digest("hex")}`), size: () => bytes };
}

/** Node writes gzip headers without a name and with time 0, so equal input gives equal output. */
function createCompressor(compression: Compression): Transform | undefined {
  switch (compression) {
    case "none":
      return undefined;
    case "gzip":
      return createGzip({ level: 6, chunkSize: 256 * 1024 });
    case "zstd":
      return createZstdCompress({ chunkSize: 256 * 1024 });
    default:
      return compression satisfies never;
  }
}
