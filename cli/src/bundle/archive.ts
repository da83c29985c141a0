/** The tar file of a bundle, read where it lies. Strict, because it may come from anywhere: an entry is a file or a
 * folder with a plain name, and what two readers could take for two different things is refused. No entry's name
 * ever becomes a path of this machine. */
import { type FileHandle, open } from "node:fs/promises";
import { Readable } from "node:stream";

import { CliError } from "../errors.ts";
import { invalidBundle } from "./invalid.ts";
import { parsePax } from "./pax.ts";
import { BLOCK_BYTES, isZeroBlock, parseHeader, parseText, type TarHeader } from "./tar-header.ts";

/** Where the bytes of one file are. */
export type ArchiveFile = { readonly offset: number; readonly size: number };

export type Archive = AsyncDisposable & {
  readonly files: ReadonlyMap<string, ArchiveFile>;
  /** The bytes of a file from `start` on. */
  readonly stream: (file: ArchiveFile, start?: number) => Readable;
  /** A file whole.
   * @throws CliError LAYOUT_INVALID when it is larger than `bytesMax` */
  readonly read: (name: string, bytesMax: number) => Promise<Buffer | undefined>;
};

const ENTRIES_MAX = 262_144;
const EXTENSION_BYTES_MAX = 64 * 1024;
const READ_BYTES = 1024 * 1024;

/** @throws CliError LAYOUT_INVALID for what is no archive of a bundle, USAGE for what is no file */
export async function openBundleArchive(path: string): Promise<Archive> {
  const handle = await openFile(path);
  try {
    const files = await indexFiles(handle, path);
    return {
      files,
      stream: (file, start = 0) =>
        Readable.from(readFrom(handle, { ...file, path }, start), { objectMode: false }),
      read: async (name, bytesMax) => {
        const file = files.get(name);
        if (file === undefined) return undefined;
        if (file.size > bytesMax) throw invalidBundle(path, `${name} is over ${bytesMax} bytes`);
        return readExactly(handle, { ...file, path });
      },
      [Symbol.asyncDispose]: () => handle.close(),
    };
  } catch (error) {
    await handle.close();
    throw error;
  }
}

async function openFile(path: string): Promise<FileHandle> {
  try {
    const handle = await open(path, "r");
    if ((await handle.stat()).isFile()) return handle;
    await handle.close();
  } catch (cause) {
    throw new CliError("USAGE", `${path} cannot be read`, { cause });
  }
  throw new CliError("USAGE", `${path} is not a file`);
}

type Walk = {
  readonly path: string;
  readonly handle: FileHandle;
  readonly end: number;
  readonly files: Map<string, ArchiveFile>;
  readonly folders: Set<string>;
  /** What extension headers said about the entry that comes next. */
  pending: { readonly name?: string; readonly size?: number };
};

async function indexFiles(
  handle: FileHandle,
  path: string,
): Promise<ReadonlyMap<string, ArchiveFile>> {
  const { size: end } = await handle.stat();
  const walk: Walk = { path, handle, end, files: new Map(), folders: new Set(), pending: {} };
  let offset = 0;
  for (let count = 0; ; count += 1) {
    if (count > ENTRIES_MAX) throw invalidBundle(path, `it has over ${ENTRIES_MAX} entries`);
    const block = await readExactly(handle, { path, offset, size: BLOCK_BYTES });
    if (isZeroBlock(block)) break;
    offset = await takeEntry(walk, parseHeader(block, path), offset + BLOCK_BYTES);
  }
  if (walk.pending.name !== undefined || walk.pending.size !== undefined) {
    throw invalidBundle(path, "it ends after an extension header");
  }
  await requireNothingMore(walk, offset);
  return walk.files;
}

/** Gives back where the next header is. */
async function takeEntry(walk: Walk, header: TarHeader, offset: number): Promise<number> {
  const { path, handle, pending } = walk;
  const isExtension = header.type === "x" || header.type === "g" || header.type === "L";
  const size = isExtension ? header.size : (pending.size ?? header.size);
  const next = offset + Math.ceil(size / BLOCK_BYTES) * BLOCK_BYTES;
  if (next > walk.end) throw invalidBundle(path, `it is cut off within ${printable(header.name)}`);
  if (isExtension) {
    if (size > EXTENSION_BYTES_MAX) throw invalidBundle(path, "an extension header is too long");
    readExtension(walk, header, await readExactly(handle, { path, offset, size }));
    return next;
  }
  walk.pending = {};
  const name = parseName(pending.name ?? header.name, path);
  if (header.type === "5") {
    if (size !== 0) throw invalidBundle(path, `the folder ${name} has bytes`);
    addFolder(walk, name);
  } else if (header.type === "0") {
    addFile(walk, name, { offset, size });
  } else {
    throw invalidBundle(path, `${printable(name)} is neither a file nor a folder`);
  }
  return next;
}

function readExtension(walk: Walk, header: TarHeader, bytes: Buffer): void {
  const { path, pending } = walk;
  if (header.type === "L") {
    if (pending.name !== undefined) throw invalidBundle(path, "an entry has two long names");
    walk.pending = { ...pending, name: parseText(bytes, path) };
    return;
  }
  const found = parsePax(bytes, path);
  if (header.type === "g") {
    // Go's reader leaves global headers to its caller, GNU tar obeys them: only what changes nothing may pass.
    if (found.name !== undefined || found.size !== undefined) {
      throw invalidBundle(path, "a global header names or measures entries");
    }
    return;
  }
  if (pending.name !== undefined || pending.size !== undefined) {
    throw invalidBundle(path, "an entry has two extension headers");
  }
  walk.pending = found;
}

function addFolder({ path, files, folders }: Walk, name: string): void {
  if (files.has(name)) throw invalidBundle(path, `${name} is there twice`);
  folders.add(name);
}

function addFile({ path, files, folders }: Walk, name: string, file: ArchiveFile): void {
  if (name === "") throw invalidBundle(path, "an entry has no name");
  if (files.has(name) || folders.has(name)) throw invalidBundle(path, `${name} is there twice`);
  files.set(name, file);
}

/** A plain relative name without its leading `./` and trailing `/`; empty for the root. */
function parseName(text: string, path: string): string {
  const name = text.replace(/^(?:\.\/)+/, "").replace(/\/$/, "");
  const isPlain =
    name === "" ||
    name === "." ||
    (/^[\x21-\x7e]+$/.test(name) &&
      name.split("/").every((part) => part !== "" && part !== "." && part !== ".."));
  if (!isPlain) throw invalidBundle(path, `${printable(text)} is no name for an entry`);
  return name === "." ? "" : name;
}

/** Entries behind the end are what one reader sees and another does not. */
async function requireNothingMore({ path, handle, end }: Walk, from: number): Promise<void> {
  if (end - from < 2 * BLOCK_BYTES)
    throw invalidBundle(path, "it is cut off: its end mark is missing");
  const buffer = Buffer.allocUnsafe(READ_BYTES);
  for (let offset = from; offset < end;) {
    const { bytesRead } = await handle.read(buffer, 0, READ_BYTES, offset);
    if (bytesRead === 0) throw invalidBundle(path, "it became shorter while it was read");
    if (!isZeroBlock(buffer.subarray(0, bytesRead))) {
      throw invalidBundle(path, "there is something behind its end");
    }
    offset += bytesRead;
  }
}

/** Not the handle's own stream: each of those would listen to the handle for good. */
async function* readFrom(
  handle: FileHandle,
  { path, offset, size }: ArchiveFile & { readonly path: string },
  start: number,
): AsyncGenerator<Buffer> {
  for (let done = start; done < size;) {
    const wanted = Math.min(READ_BYTES, size - done);
    const { buffer, bytesRead } = await handle.read(
      Buffer.allocUnsafe(wanted),
      0,
      wanted,
      offset + done,
    );
    if (bytesRead === 0) throw invalidBundle(path, "it became shorter while it was read");
    done += bytesRead;
    yield buffer.subarray(0, bytesRead);
  }
}

async function readExactly(
  handle: FileHandle,
  { path, offset, size }: ArchiveFile & { readonly path: string },
): Promise<Buffer> {
  const buffer = Buffer.alloc(size);
  let done = 0;
  while (done < size) {
    const { bytesRead } = await handle.read(buffer, done, size - done, offset + done);
    if (bytesRead === 0) throw invalidBundle(path, "it is cut off");
    done += bytesRead;
  }
  return buffer;
}

/** For messages: no control characters of an archive reach a terminal. */
function printable(name: string): string {
  return JSON.stringify(name.slice(0, 200));
}
