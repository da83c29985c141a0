import {
  closeSync,
  existsSync,
  fstatSync,
  fsyncSync,
  ftruncateSync,
  openSync,
  readSync,
  renameSync,
  writeSync,
} from "node:fs";
import { dirname } from "node:path";
import { crc32 } from "node:zlib";

import type { Change } from "./changes.ts";

/** What one transaction changed. Numbers rise by one; a snapshot's lines all have the number of its moment. */
export type JournalLine = { readonly number: number; readonly changes: readonly Change[] };

/** A second copy of the metadata, as a file of lines beside the database: `<crc32> <json>`. It is written inside the
 * transaction, so it may be one line ahead of the database, and it is not synced, so it may be behind after a power
 * cut; the database's own number tells. */
export type Journal = {
  /** The number of the last whole line; -1 when there is none. */
  readonly lastNumber: () => number;
  readonly sizeBytes: () => number;
  /** Replaces a last line of the same number, whose transaction failed. @throws ENOSPC, with nothing changed */
  readonly append: (line: JournalLine) => void;
  /** Every line in order; `undefined` stands for a damaged one. */
  readonly readAll: () => Iterable<JournalLine | undefined>;
  /** Puts these lines in the place of all, or changes nothing. */
  readonly replace: (lines: Iterable<JournalLine>) => void;
  /** Keeps the present file under another name, for a person to look at; the journal is then empty. */
  readonly setAside: () => void;
  readonly close: () => void;
};

const CHUNK_BYTES = 1024 * 1024;
const TAIL_BYTES = 64 * 1024;
const NEWLINE = 10;

export function openJournal(path: string): Journal {
  let file = openFile(path);
  let state = findEnd(file);
  // What a kill left of a line.
  ftruncateSync(file, state.endBytes);
  let dirty = false;
  const reopen = (): void => {
    closeSync(file);
    file = openFile(path);
    state = findEnd(file);
  };
  return {
    lastNumber: () => state.lastNumber,
    sizeBytes: () => state.endBytes,
    append: (line) => {
      const start = line.number === state.lastNumber ? state.lastStart : state.endBytes;
      if (dirty || start < state.endBytes) ftruncateSync(file, start);
      dirty = true;
      const bytes = encodeLine(line);
      writeAll(file, bytes, start);
      dirty = false;
      state = { lastNumber: line.number, lastStart: start, endBytes: start + bytes.length };
    },
    readAll: () => readLines(file),
    replace: (lines) => {
      replaceFile(path, lines);
      reopen();
    },
    setAside: () => {
      renameSync(path, `${path}.damaged`);
      reopen();
    },
    close: () => {
      fsyncSync(file);
      closeSync(file);
    },
  };
}

function openFile(path: string): number {
  return openSync(path, existsSync(path) ? "r+" : "wx+", 0o600);
}

function encodeLine({ number, changes }: JournalLine): Buffer {
  const json = JSON.stringify({ number, changes });
  return Buffer.from(`${checksum(json)} ${json}\n`);
}

function decodeLine(text: string): JournalLine | undefined {
  const json = text.slice(9);
  return text.slice(0, 9) === `${checksum(json)} ` ? parseLine(json) : undefined;
}

function checksum(json: string): string {
  return crc32(json).toString(16).padStart(8, "0");
}

function parseLine(json: string): JournalLine {
  // The checksum says that these are the bytes that `encodeLine` wrote.
  return JSON.parse(json) as JournalLine;
}

type End = {
  readonly lastNumber: number;
  readonly lastStart: number;
  readonly endBytes: number;
};

/** Looks at the end only: a start must not take longer for a longer journal. */
function findEnd(file: number): End {
  const sizeBytes = fstatSync(file).size;
  for (let window = TAIL_BYTES; ; window *= 4) {
    const from = Math.max(0, sizeBytes - window);
    const tail = readRange(file, from, sizeBytes);
    const end = tail.lastIndexOf(NEWLINE) + 1;
    const start = end === 0 ? -1 : tail.lastIndexOf(NEWLINE, end - 2) + 1;
    if (from > 0 && (start <= 0 || end === 0)) continue;
    if (end === 0) return { lastNumber: -1, lastStart: 0, endBytes: 0 };
    const line = decodeLine(tail.subarray(start, end - 1).toString());
    return { lastNumber: line?.number ?? -1, lastStart: from + start, endBytes: from + end };
  }
}

function readRange(file: number, from: number, to: number): Buffer {
  const bytes = Buffer.alloc(to - from);
  let filled = 0;
  while (filled < bytes.length) {
    const count = readSync(file, bytes, filled, bytes.length - filled, from + filled);
    if (count === 0) break;
    filled += count;
  }
  return bytes.subarray(0, filled);
}

function* readLines(file: number): Generator<JournalLine | undefined> {
  const sizeBytes = fstatSync(file).size;
  let rest: Buffer[] = [];
  for (let position = 0; position < sizeBytes; position += CHUNK_BYTES) {
    const chunk = readRange(file, position, Math.min(position + CHUNK_BYTES, sizeBytes));
    let start = 0;
    for (let end = chunk.indexOf(NEWLINE); end >= 0; end = chunk.indexOf(NEWLINE, start)) {
      yield decodeLine(Buffer.concat([...rest, chunk.subarray(start, end)]).toString());
      rest = [];
      start = end + 1;
    }
    if (start < chunk.length) rest.push(chunk.subarray(start));
  }
}

function writeAll(file: number, bytes: Buffer, position: number): void {
  let written = 0;
  while (written < bytes.length) {
    written += writeSync(file, bytes, written, bytes.length - written, position + written);
  }
}

function replaceFile(path: string, lines: Iterable<JournalLine>): void {
  const next = `${path}.next`;
  const file = openSync(next, "w", 0o600);
  try {
    let position = 0;
    for (const line of lines) {
      const bytes = encodeLine(line);
      writeAll(file, bytes, position);
      position += bytes.length;
    }
    fsyncSync(file);
  } finally {
    closeSync(file);
  }
  renameSync(next, path);
  const folder = openSync(dirname(path), "r");
  fsyncSync(folder);
  closeSync(folder);
}
