/** The file of a backup: a tar archive, compressed by zstd. Its first entry says what the others are; each of them is
 * named and counted there, with its digest, so that what is missing, altered or too much is noticed. */
import { createHash } from "node:crypto";
import { createReadStream } from "node:fs";
import { pipeline as connect, type Readable, type Writable } from "node:stream";
import { pipeline } from "node:stream/promises";
import { constants, createZstdCompress, createZstdDecompress } from "node:zlib";

import { BACKUP_MANIFEST, BackupManifest, type BackupPart } from "@strata/protocol/api/backups";
import { getErrorCode } from "@strata/protocol/errors";
import { digestAlgorithm, digestHex } from "@strata/protocol/oci/digest";
import tar from "tar-stream";

import { ControllerError } from "../errors.ts";

const MANIFEST_BYTES_MAX = 256 * 1024 * 1024;
const READ_BYTES = 256 * 1024;
const MODE = 0o600;

/** A part and the file that has its bytes. */
export type StagedPart = BackupPart & { readonly file: string };

/** The bytes of an archive. Fails when a file is not as long as its part says. */
export function packArchive(manifest: BackupManifest, staged: readonly StagedPart[]): Readable {
  const pack = tar.pack({});
  const compress = createZstdCompress({
    params: { [constants.ZSTD_c_checksumFlag]: 1, [constants.ZSTD_c_compressionLevel]: 3 },
  });
  const mtime = new Date(manifest.createdAt);
  const fill = async (): Promise<void> => {
    const text = Buffer.from(JSON.stringify(manifest));
    pack.entry({ name: BACKUP_MANIFEST, size: text.length, mode: MODE, mtime }, text);
    for (const { path, sizeBytes, file } of staged) {
      const header = { name: path, size: sizeBytes, mode: MODE, mtime };
      if (sizeBytes === 0) pack.entry(header, Buffer.alloc(0));
      else await addFile(pack, header, file);
    }
    pack.finalize();
  };
  connect(pack, compress, () => undefined);
  fill().catch((error: unknown) => {
    // A reader that went away closed the archive itself.
    if (!pack.destroyed) pack.destroy(toError(error));
  });
  return compress;
}

async function addFile(
  pack: tar.Pack,
  header: Parameters<tar.Pack["entry"]>[0],
  file: string,
): Promise<void> {
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  promise.catch(() => undefined);
  const entry = pack.entry(header, (error) => (error ? reject(error) : resolve()));
  await pipeline(createReadStream(file, { highWaterMark: READ_BYTES }), entry);
  await promise;
}

export type Unpack = {
  readonly onManifest?: (manifest: BackupManifest) => void | Promise<void>;
  /** Where the bytes of a part go; they are checked when they are through. */
  readonly sinkOf: (part: BackupPart) => Writable;
};

/** Reads an archive to its end, and gives its manifest.
 * @throws ControllerError BACKUP_INVALID when it is cut off, altered or no archive; the sink's errors */
export async function unpackArchive(archive: Readable, unpack: Unpack): Promise<BackupManifest> {
  const extract = tar.extract();
  const failed = Promise.withResolvers<never>();
  failed.promise.catch(() => undefined);
  connect(archive, createZstdDecompress(), extract, (error) => {
    if (error !== null && error !== undefined) failed.reject(readError(error));
  });
  const read = async (): Promise<BackupManifest> => {
    let manifest: BackupManifest | undefined;
    const missing = new Map<string, BackupPart>();
    for await (const entry of extract) {
      const { name, type } = entry.header;
      if (type !== "file") throw invalid(`${name} is no file`);
      if (manifest === undefined) {
        manifest = await readManifest(name, entry);
        for (const part of manifest.parts) missing.set(part.path, part);
        if (missing.size !== manifest.parts.length) throw invalid("a part is named twice");
        await unpack.onManifest?.(manifest);
        continue;
      }
      const part = missing.get(name);
      if (part === undefined) throw invalid(`${name} does not belong to it, or is there twice`);
      await receive(entry, part, unpack.sinkOf(part));
      missing.delete(name);
    }
    if (manifest === undefined) throw invalid("it is empty");
    const [first] = missing.keys();
    if (first !== undefined) throw invalid(`${first} is missing`);
    return manifest;
  };
  try {
    return await Promise.race([read(), failed.promise]);
  } catch (error) {
    archive.destroy();
    throw readError(toError(error));
  }
}

async function readManifest(name: string, entry: AsyncIterable<unknown>): Promise<BackupManifest> {
  if (name !== BACKUP_MANIFEST) throw invalid("it does not begin with its manifest");
  const chunks: Buffer[] = [];
  let size = 0;
  for await (const chunk of entry) {
    if (!Buffer.isBuffer(chunk)) continue;
    size += chunk.length;
    if (size > MANIFEST_BYTES_MAX) throw invalid("its manifest is too long");
    chunks.push(chunk);
  }
  try {
    return BackupManifest.parse(JSON.parse(Buffer.concat(chunks).toString()));
  } catch (cause) {
    throw invalid("its manifest is none that this version knows", cause);
  }
}

async function receive(
  entry: AsyncIterable<unknown>,
  part: BackupPart,
  sink: Writable,
): Promise<void> {
  const hash = createHash(digestAlgorithm(part.digest));
  let size = 0;
  await pipeline(
    entry,
    async function* count(source: AsyncIterable<unknown>) {
      for await (const chunk of source) {
        if (!Buffer.isBuffer(chunk)) continue;
        size += chunk.length;
        if (size > part.sizeBytes) throw invalid(`${part.path} is longer than it should be`);
        hash.update(chunk);
        yield chunk;
      }
    },
    sink,
  );
  if (size !== part.sizeBytes || hash.digest("hex") !== digestHex(part.digest))
    throw invalid(`${part.path} is not what was backed up`);
}

/** What the readers of tar, zstd and age throw means one thing; the system's errors mean another. */
function readError(error: Error): Error {
  if (error instanceof ControllerError) return error;
  const code = getErrorCode(error) ?? "";
  return /^E[A-Z]+$/.test(code) && "syscall" in error
    ? error
    : invalid("it is cut off or altered", error);
}

function toError(error: unknown): Error {
  return error instanceof Error ? error : new Error(String(error));
}

function invalid(what: string, cause?: unknown): ControllerError {
  return new ControllerError("BACKUP_INVALID", `this is no whole backup: ${what}`, {
    cause,
    hint: "take another backup, or another copy of this one",
  });
}
