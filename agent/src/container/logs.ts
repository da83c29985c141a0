import { closeSync, existsSync, fstatSync, openSync, readSync, statSync } from "node:fs";
import { dirname } from "node:path";
import { setTimeout as delay } from "node:timers/promises";

import { readOptionalFile, replaceFile } from "../durable-file.ts";
import { runTool } from "../host/run-tool.ts";

/** The log of a process is one file that its supervisor appends to. Old output is given back to the disk by punching a
 * hole at the front: nothing is copied, byte offsets never change, and whoever follows never meets a gap. The first
 * byte that is kept is written down beside the log before its blocks go. */

const CHUNK_BYTES = 64 * 1024;
/** How soon a follower sees new output. */
const LOOK_MS = 100;
const NEWLINE = 0x0a;

/** Gives back the oldest output, so that about `bytesMax` stay, and says how long the log is, from its very first byte.
 * Quick when there is nothing to do. */
export async function trimLog(path: string, bytesMax: number): Promise<number> {
  const size = statSync(path, { throwIfNoEntry: false })?.size ?? 0;
  // A quarter of slack, or every look would punch a few blocks.
  if (size > bytesMax && size - readStart(path) > bytesMax * 1.25)
    await giveBack(path, size - bytesMax);
  return size;
}

/** Gives back what is before `offset`. The byte before it stays: whether a line begins at `offset` is seen by it. */
export async function giveBack(path: string, offset: number): Promise<void> {
  const start = readStart(path);
  if (offset <= start) return;
  replaceFile(startPath(path), String(offset));
  const from = Math.max(0, start - 1);
  if (offset - 1 <= from) return;
  const range = ["--offset", String(from), "--length", String(offset - 1 - from)];
  await runTool("fallocate", ["--punch-hole", ...range, path]);
}

function startPath(path: string): string {
  return `${path}.start`;
}

/** The first byte that is kept. */
export function readStart(path: string): number {
  return Number(readOptionalFile(startPath(path)) ?? 0);
}

export type ReadLogOptions = {
  /** Goes on with new output until the signal, or until the log is deleted. */
  readonly follow: boolean;
  /** Begins with so many last lines; undefined begins with the oldest line that is kept. */
  readonly tail?: number | undefined;
  /** Goes on from this byte, as far as it is kept; wins over `tail`. */
  readonly from?: number | undefined;
  readonly signal: AbortSignal;
};

/** Some bytes of a log, and where in it they are. */
export type LogPart = { readonly offset: number; readonly bytes: Buffer };

/** What a process wrote, as it wrote it, in parts of at most 64 KiB. The first is empty and says where the log begins. A
 * log that is not there is empty; who follows waits for it while there is its folder. */
export async function* readLog(path: string, options: ReadLogOptions): AsyncGenerator<LogPart> {
  const { follow, signal } = options;
  while (!existsSync(path)) {
    if (!follow || !existsSync(dirname(path)) || signal.aborted) return;
    await delay(LOOK_MS, undefined, { signal }).catch(() => undefined);
  }
  const fd = openSync(path, "r");
  try {
    let offset = findStart(fd, { start: readStart(path), ...options });
    yield { offset, bytes: Buffer.alloc(0) };
    while (!signal.aborted) {
      const isDeleted = fstatSync(fd).nlink === 0;
      const bytes = readAt(fd, offset, CHUNK_BYTES);
      const start = readStart(path);
      if (start > offset) {
        // Given back while or before it was read: a reader slower than the log loses what was not kept for it.
        offset = start;
      } else if (bytes.length > 0) {
        yield { offset, bytes };
        offset += bytes.length;
      } else {
        if (!follow || isDeleted) return;
        await delay(LOOK_MS, undefined, { signal }).catch(() => undefined);
      }
    }
  } finally {
    closeSync(fd);
  }
}

type StartWish = Pick<ReadLogOptions, "tail" | "from"> & { readonly start: number };

/** The offset of the first line to show. The first kept byte is rarely the first of a line. */
function findStart(fd: number, { start, tail, from }: StartWish): number {
  const { size } = fstatSync(fd);
  if (from !== undefined) return Math.max(start, Math.min(from, size));
  if (tail === undefined) return start === 0 ? 0 : Math.max(start, afterNewline(fd, start - 1));
  if (tail === 0) return size;
  let lines = 0;
  for (let end = size; end > start;) {
    const begin = Math.max(start, end - CHUNK_BYTES);
    const chunk = readAt(fd, begin, end - begin);
    for (let index = chunk.length - 1; index >= 0; index -= 1) {
      // The newline at the very end closes the last line and begins none.
      if (chunk[index] !== NEWLINE || begin + index === size - 1) continue;
      lines += 1;
      if (lines === tail) return begin + index + 1;
    }
    end = begin;
  }
  return start;
}

function afterNewline(fd: number, start: number): number {
  for (let offset = start; ; offset += CHUNK_BYTES) {
    const chunk = readAt(fd, offset, CHUNK_BYTES);
    if (chunk.length === 0) return start;
    const index = chunk.indexOf(NEWLINE);
    if (index >= 0) return offset + index + 1;
  }
}

function readAt(fd: number, offset: number, length: number): Buffer {
  const chunk = Buffer.allocUnsafe(Math.min(length, CHUNK_BYTES));
  return chunk.subarray(0, readSync(fd, chunk, 0, chunk.length, offset));
}
