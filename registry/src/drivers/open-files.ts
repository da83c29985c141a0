import { close, closeSync, fstat, fstatSync, open, read, type Stats } from "node:fs";
import { promisify } from "node:util";

import { getErrorCode } from "@strata/protocol/errors";

import type { OpenBlob } from "../blob-store.ts";

/** Files that stay open for a while after their last reader: what is asked for in many pieces is opened once. */
export type OpenFiles = {
  /** Undefined when there is no such file. */
  readonly open: (path: string) => Promise<OpenBlob | undefined>;
  /** The name stands for another file now, or for none. Those who have the old one open can read on. */
  readonly forget: (path: string) => void;
  /** Closes what nobody reads, at once. */
  readonly close: () => void;
};

/** Nobody reads it any more, so it can be closed. */
const IDLE_MS = 10_000;
const IDLE_MAX = 64;

type Shared = {
  readonly descriptor: number;
  readers: number;
  /** Its name is not in the table any more: the last reader closes it. */
  forgotten: boolean;
  idleSince: number;
};

const openDescriptor = promisify(open);
const readDescriptor = promisify(read);
const statDescriptor = promisify(fstat);

export function createOpenFiles(): OpenFiles {
  const table = new Map<string, Shared>();
  let timer: NodeJS.Timeout | undefined;
  const forget = (path: string): void => {
    const file = table.get(path);
    if (file === undefined) return;
    table.delete(path);
    file.forgotten = true;
    if (file.readers === 0) closeQuietly(file.descriptor);
  };
  const closeIdle = (): void => {
    timer = undefined;
    const idle = [...table].filter(([, file]) => file.readers === 0);
    const before = performance.now() - IDLE_MS;
    for (const [path, file] of idle) if (file.idleSince <= before) forget(path);
    if (idle.length > 0) timer = setTimeout(closeIdle, IDLE_MS).unref();
  };
  const release = (file: Shared): void => {
    file.readers -= 1;
    if (file.readers > 0) return;
    file.idleSince = performance.now();
    if (file.forgotten) closeQuietly(file.descriptor);
    else timer ??= setTimeout(closeIdle, IDLE_MS).unref();
  };
  const share = (file: Shared, stats: Stats): OpenBlob => {
    file.readers += 1;
    return describe(file.descriptor, stats, () => release(file));
  };
  return {
    forget,
    close: () => {
      clearTimeout(timer);
      timer = undefined;
      for (const [path, file] of table) {
        table.delete(path);
        file.forgotten = true;
        if (file.readers === 0) closeSync(file.descriptor);
      }
    },
    open: async (path) => {
      const known = table.get(path);
      if (known !== undefined) {
        // Answered from memory by the kernel, so it never waits for a disk.
        const stats = fstatSync(known.descriptor);
        if (stats.nlink > 0) return share(known, stats);
        forget(path);
      }
      const opened = await openIfThere(path);
      if (opened === undefined) return undefined;
      const { descriptor, stats } = opened;
      const file = { descriptor, readers: 0, forgotten: false, idleSince: 0 };
      // Another reader may have been quicker; this one then has a file of its own.
      if (table.has(path) || table.size >= IDLE_MAX) file.forgotten = true;
      else table.set(path, file);
      return share(file, stats);
    },
  };
}

async function openIfThere(
  path: string,
): Promise<{ readonly descriptor: number; readonly stats: Stats } | undefined> {
  const descriptor = await openDescriptor(path, "r").catch((error: unknown) => {
    if (getErrorCode(error) === "ENOENT") return undefined;
    throw error;
  });
  if (descriptor === undefined) return undefined;
  try {
    return { descriptor, stats: await statDescriptor(descriptor) };
  } catch (error) {
    closeQuietly(descriptor);
    throw error;
  }
}

function describe(descriptor: number, stats: Stats, release: () => void): OpenBlob {
  return {
    sizeBytes: stats.size,
    file: {
      descriptor,
      version: `${stats.ino} ${stats.ctimeMs} ${stats.size}`,
      changedAt: stats.ctimeMs,
    },
    read: (target, position) => readFully(descriptor, target, position),
    [Symbol.asyncDispose]: async () => release(),
  };
}

/** One read may give less than there is: the kernel says so, and signals and network file systems do it. */
export async function readFully(
  descriptor: number,
  target: Uint8Array,
  position: number,
): Promise<number> {
  let filled = 0;
  while (filled < target.length) {
    const { bytesRead } = await readDescriptor(
      descriptor,
      target,
      filled,
      target.length - filled,
      position + filled,
    );
    if (bytesRead === 0) break;
    filled += bytesRead;
  }
  return filled;
}

/** A file that was only read has nothing to lose; but the last close of a deleted one may take the disk a while. */
function closeQuietly(descriptor: number): void {
  close(descriptor, () => undefined);
}
