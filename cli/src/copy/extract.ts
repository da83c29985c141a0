/** Unpacks the archive of a process. What is in it is the process's own choice, so it is taken for hostile: nothing is
 * written but below the target, never through a link, and no link is made that leads out of it. */
import { constants } from "node:fs";
import { chmod, type FileHandle, lstat, mkdir, open, rm, symlink, utimes } from "node:fs/promises";
import { Readable } from "node:stream";
import { pipeline } from "node:stream/promises";

import { extract as extractTar, type Header } from "tar-stream";

import { chunksOf } from "../chunks.ts";
import { CliError } from "../errors.ts";

export type ExtractOptions = {
  /** An existing folder; nothing is written but below it. */
  readonly folder: string;
  /** What the names in the archive begin with; `.` for nothing. */
  readonly top: string;
  /** Another name for the tree. */
  readonly rename?: string | undefined;
  /** Told what was left out, and why. */
  readonly onSkipped: (path: string, why: string) => void;
};

type Target = ExtractOptions & {
  /** Folders that this run has seen to be real ones. */
  readonly folders: Set<string>;
  /** Modes and times of folders come last: a folder that may not be written to would take no files. */
  readonly later: { readonly path: Buffer; readonly header: Header }[];
};

type Entry = AsyncIterable<unknown> & { readonly header: Header; readonly resume: () => unknown };

/** Latin-1 keeps every byte of a name. Its types do not know of it. */
const tarOptions = { highWaterMark: 64 * 1024, filenameEncoding: "latin1" } as const;
const LATER_MAX = 100_000;
const FILE_FLAGS = constants.O_WRONLY | constants.O_CREAT | constants.O_EXCL | constants.O_NOFOLLOW;
/** Zeros this long become a hole. */
const HOLE_BYTES_MIN = 4096;

/** Files and folders get the archive's modes, without setuid, and times, and belong to who runs this.
 * @throws CliError ARCHIVE_REFUSED, TARGET_OCCUPIED, UNREACHABLE when the archive breaks off */
export async function extractTree(
  archive: AsyncIterable<Buffer>,
  options: ExtractOptions,
): Promise<void> {
  const target: Target = { ...options, folders: new Set(), later: [] };
  const entries = extractTar(tarOptions);
  const fed = pipeline(Readable.from(archive, { objectMode: false }), entries);
  fed.catch(() => undefined);
  try {
    for await (const entry of entries) await takeEntry(entry, target);
  } catch (error) {
    entries.destroy();
    throw error;
  }
  await fed;
  for (const { path, header } of target.later.toReversed()) {
    await chmod(path, header.mode & 0o777);
    await utimes(path, header.mtime, header.mtime);
  }
}

async function takeEntry(entry: Entry, target: Target): Promise<void> {
  const { header } = entry;
  const parts = placeOf(header, target);
  const isFile = header.type === "file" || header.type === "contiguous-file";
  if (!isFile && header.size > 0) throw refuse(header, "has contents, but is no file");
  if (parts.length === 0 && header.type !== "directory") throw refuse(header, "has no name");
  const path = await prepareParents(parts, target);
  if (isFile) return await writeFile(entry, path);
  if (header.type === "directory") await makeFolder(path, header, target);
  else if (header.type === "symlink") await makeLink({ path, parts, header }, target);
  else target.onSkipped(shown(path), `it is a ${header.type}`);
  entry.resume();
}

/** One character for each byte. Others come from PAX headers, which are never sent: cut to a byte, one could be a slash. */
function isBytes(name: string): boolean {
  return !name.includes("\0") && Buffer.from(name, "latin1").toString("latin1") === name;
}

/** Where an entry goes, below the target's folder. */
function placeOf(header: Header, { top, rename }: Target): readonly string[] {
  const parts = header.name.split("/").filter((part) => part !== "" && part !== ".");
  if (parts.includes("..") || !isBytes(header.name))
    throw refuse(header, "leads out of the archive");
  if (top !== "." && parts[0] !== top) throw refuse(header, `is not in ${top}`);
  if (rename === undefined) return parts;
  const own = Buffer.from(rename).toString("latin1");
  return [own, ...(top === "." ? parts : parts.slice(1))];
}

/** Every folder on the way is a real one, or is made. Returns the whole path. */
async function prepareParents(parts: readonly string[], target: Target): Promise<Buffer> {
  for (let count = 1; count < parts.length; count += 1) {
    const path = pathOf(parts.slice(0, count), target);
    const key = path.toString("latin1");
    if (target.folders.has(key)) continue;
    await requireFolder(path);
    target.folders.add(key);
  }
  return pathOf(parts, target);
}

function pathOf(parts: readonly string[], { folder }: Target): Buffer {
  return Buffer.concat([Buffer.from(`${folder}/`), Buffer.from(parts.join("/"), "latin1")]);
}

async function requireFolder(path: Buffer): Promise<void> {
  const found = await lstat(path).catch(() => undefined);
  if (found === undefined) {
    await mkdir(path);
    return;
  }
  if (found.isDirectory()) return;
  throw new CliError("TARGET_OCCUPIED", `${shown(path)} is no folder`, {
    hint: "links are not followed here: move it away, or copy to where it leads",
  });
}

async function makeFolder(path: Buffer, header: Header, target: Target): Promise<void> {
  // What was there already stays as it is.
  if ((await lstat(path).catch(() => undefined))?.isDirectory() === true) return;
  await requireFolder(path);
  if (target.later.length < LATER_MAX) target.later.push({ path, header });
}

async function writeFile(entry: Entry, path: Buffer): Promise<void> {
  await clear(path);
  await using file = await open(path, FILE_FLAGS, 0o600);
  let position = 0;
  for await (const chunk of chunksOf(entry)) {
    if (!isHole(chunk)) await writeAll(file, chunk, position);
    position += chunk.length;
  }
  await file.truncate(position);
  await file.chmod(entry.header.mode & 0o777);
  await file.utimes(entry.header.mtime, entry.header.mtime);
}

function isHole(chunk: Buffer): boolean {
  return chunk.length >= HOLE_BYTES_MIN && chunk.every((byte) => byte === 0);
}

async function writeAll(file: FileHandle, chunk: Buffer, position: number): Promise<void> {
  for (let at = 0; at < chunk.length;) {
    const { bytesWritten } = await file.write(chunk, at, chunk.length - at, position + at);
    at += bytesWritten;
  }
}

type LinkEntry = {
  readonly path: Buffer;
  readonly parts: readonly string[];
  readonly header: Header;
};

async function makeLink({ path, parts, header }: LinkEntry, target: Target): Promise<void> {
  const link = header.linkname;
  if (!staysInside(link, parts.length - 1)) {
    target.onSkipped(shown(path), `it is a link that leads elsewhere: ${JSON.stringify(link)}`);
    return;
  }
  await clear(path);
  await symlink(Buffer.from(link, "latin1"), path);
}

/** `..` stands only at the begin, and no more often than there are folders of the archive above. Then whatever other
 * links of the archive are on its way, it ends inside. */
function staysInside(link: string, depth: number): boolean {
  if (link === "" || link.startsWith("/") || !isBytes(link)) return false;
  const parts = link.split("/").filter((part) => part !== "" && part !== ".");
  const begin = parts.findIndex((part) => part !== "..");
  const ups = begin < 0 ? parts.length : begin;
  return ups <= depth && !parts.slice(ups).includes("..");
}

/** Whatever stands where a file or link shall be goes, but no folder. */
async function clear(path: Buffer): Promise<void> {
  const found = await lstat(path).catch(() => undefined);
  if (found === undefined) return;
  if (found.isDirectory())
    throw new CliError("TARGET_OCCUPIED", `${shown(path)} is a folder`, {
      hint: "move it away, or copy to another place",
    });
  await rm(path);
}

function refuse({ name }: Header, why: string): CliError {
  return new CliError("ARCHIVE_REFUSED", `the archive is refused: ${JSON.stringify(name)} ${why}`);
}

/** A name of the archive must not move the cursor. */
function shown(path: Buffer): string {
  // oxlint-disable-next-line no-control-regex -- these are exactly the characters to take out
  return path.toString("utf8").replaceAll(/[\u0000-\u001f\u007f-\u009f]/g, "?");
}
