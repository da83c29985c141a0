import { closeSync, fstatSync, openSync, readSync, statSync } from "node:fs";
import { setTimeout as delay } from "node:timers/promises";

import { readOptionalFile, replaceFile } from "../durable-file.ts";
import { runTool } from "../host/run-tool.ts";

/** The log of a process is one file that its supervisor appends to. Old blocks are given back to the disk by punching a
 * hole at the front: nothing is copied, byte offsets never change, and whoever follows never meets a gap. The first
 * byte that is kept is written down beside the log before its blocks go. */

/** The file system gives back whole blocks. */
const BLOCK_BYTES = 4096;
const CHUNK_BYTES = 64 * 1024;
/** How soon a follower sees new output. */
const LOOK_MS = 100;
const NEWLINE = 0x0a;

/** Gives back the oldest blocks of the log, so that about `bytesMax` stay. Quick when there is nothing to do. */
export async function trimLog(path: string, bytesMax: number): Promise<void> {
  const size = statSync(path, { throwIfNoEntry: false })?.size ?? 0;
  if (size <= bytesMax) return;
  const start = readStart(path);
  // A quarter of slack, or every look would punch a few blocks.
  if (size - start <= bytesMax * 1.25) return;
  const cut = Math.floor((size - bytesMax) / BLOCK_BYTES) * BLOCK_BYTES;
  replaceFile(startPath(path), String(cut));
  const range = ["--offset", String(start), "--length", String(cut - start)];
  await runTool("fallocate", ["--punch-hole", ...range, path]);
}

function startPath(path: string): string {
  return `${path}.start`;
}

function readStart(path: string): number {
  return Number(readOptionalFile(startPath(path)) ?? 0);
}

export type ReadLogOptions = {
  /** Goes on with new output until the signal, or until the log is deleted. */
  readonly follow: boolean;
  /** Begins with so many last lines; undefined begins with the oldest line that is kept. */
  readonly tail?: number | undefined;
  readonly signal: AbortSignal;
};

/** What a process wrote, as it wrote it, in chunks of at most 64 KiB. A log that is not there is empty. */
export async function* readLog(path: string, options: ReadLogOptions): AsyncGenerator<Buffer> {
  const { follow, tail, signal } = options;
  if (statSync(path, { throwIfNoEntry: false }) === undefined) return;
  const fd = openSync(path, "r");
  try {
    let offset = findStart(fd, { start: readStart(path), tail });
    while (!signal.aborted) {
      const chunk = readAt(fd, offset, CHUNK_BYTES);
      if (chunk.length > 0) {
        offset += chunk.length;
        yield chunk;
      } else {
        if (!follow || fstatSync(fd).nlink === 0) return;
        await delay(LOOK_MS, undefined, { signal }).catch(() => undefined);
        // A reader slower than the log loses what was given back meanwhile, not its place in a line.
        offset = Math.max(offset, readStart(path));
      }
    }
  } finally {
    closeSync(fd);
  }
}

type StartWish = { readonly start: number; readonly tail: number | undefined };

/** The offset of the first line to show. The first kept byte is rarely the first of a line. */
function findStart(fd: number, { start, tail }: StartWish): number {
  const { size } = fstatSync(fd);
  if (tail === undefined) return start === 0 ? 0 : afterNewline(fd, start);
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
  return tail === 0 ? size : start;
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
