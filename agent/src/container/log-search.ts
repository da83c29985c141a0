import { statSync } from "node:fs";
import { setImmediate as turn } from "node:timers/promises";

import {
  type FoundLine,
  LOG_LINE_BYTES_MAX,
  type LogSearch,
  type LogSearchEnd,
} from "@strata/protocol/agent/log-search";
import { compileLogPattern } from "@strata/protocol/log-pattern";

import { createLineClock, offsetBefore, readLogTimes } from "./log-times.ts";
import { readLog, readStart } from "./logs.ts";

/** Of found lines in one answer. */
const FOUND_BYTES_MAX = 4 * 1024 * 1024;
/** Then the search ends with what it has: whoever asked waits. */
const SEARCH_MS_MAX = 15_000;

export type Found = LogSearchEnd & { readonly lines: readonly FoundLine[] };

export type SearchLogOptions = {
  readonly search: LogSearch;
  readonly nowMs: number;
  /** A clock that never jumps. */
  readonly monotonicMs: () => number;
  readonly signal: AbortSignal;
};

/** The last lines of a log that were written in a time and have a text. Reads 64 KiB at a time and lets others have
 * their turn in between.
 * @throws ParseError for a pattern that is no regular expression */
export async function searchLog(path: string, options: SearchLogOptions): Promise<Found> {
  const { search, nowMs, monotonicMs, signal } = options;
  const { sinceMs = -Infinity, untilMs = Infinity, pattern, tail } = search;
  const matches = pattern === undefined ? () => true : compileLogPattern(pattern);
  const notes = readLogTimes(path);
  const timeOf = createLineClock(notes, endOf(path, nowMs));
  const kept = createTail(tail);
  const endsAt = monotonicMs() + SEARCH_MS_MAX;
  const from = offsetBefore(notes, sinceMs);
  for await (const lines of readLines(path, { from, signal })) {
    for (const { offset, text } of lines) {
      const atMs = timeOf(offset);
      if (atMs >= untilMs) return { ...kept.end(), timedOut: false };
      if (atMs >= sinceMs && matches(text)) kept.add({ atMs, offset, text });
    }
    await turn();
    if (monotonicMs() > endsAt) return { ...kept.end(), timedOut: true };
  }
  return { ...kept.end(), timedOut: false };
}

/** How long the log is now, and when it became so. */
function endOf(path: string, nowMs: number): { readonly atMs: number; readonly offset: number } {
  const stat = statSync(path, { throwIfNoEntry: false });
  return { offset: stat?.size ?? 0, atMs: Math.min(stat?.mtimeMs ?? nowMs, nowMs) };
}

type Line = { readonly offset: number; readonly text: string };

const NEWLINE = 0x0a;

/** The lines that begin at a byte or behind it, as many at a time as were read at once. The last one may lack its end. */
async function* readLines(
  path: string,
  { from, signal }: { readonly from: number; readonly signal: AbortSignal },
): AsyncGenerator<readonly Line[]> {
  // Whether a line begins there is seen by the byte before; without a place, the first whole line is found.
  const isCut = from > readStart(path);
  const place = isCut ? { from: from - 1 } : {};
  let rest: Buffer = Buffer.alloc(0);
  let at = -1;
  let dropsFirst = isCut;
  for await (const { offset, bytes } of readLog(path, { follow: false, signal, ...place })) {
    // Trimmed while it was read: the line that had begun is gone.
    if (offset !== at + rest.length) rest = Buffer.alloc(0);
    at = offset - rest.length;
    const chunk = rest.length === 0 ? bytes : Buffer.concat([rest, bytes]);
    const lines: Line[] = [];
    let begin = 0;
    while (begin < chunk.length) {
      const newline = chunk.indexOf(NEWLINE, begin);
      const isLong = newline < 0 && chunk.length - begin >= LOG_LINE_BYTES_MAX;
      if (newline < 0 && !isLong) break;
      const end = newline < 0 ? chunk.length : newline;
      if (!dropsFirst) lines.push({ offset: at + begin, text: textOf(chunk.subarray(begin, end)) });
      dropsFirst &&= newline < 0;
      begin = newline < 0 ? end : end + 1;
    }
    rest = chunk.subarray(begin);
    at += begin;
    yield lines;
  }
  if (rest.length > 0 && !dropsFirst) yield [{ offset: at, text: textOf(rest) }];
}

function textOf(bytes: Buffer): string {
  return bytes.toString("utf8").replace(/\r$/, "");
}

/** Keeps the last so many lines, and no more bytes than an answer may have. */
function createTail(count: number): {
  readonly add: (line: FoundLine) => void;
  readonly end: () => Pick<Found, "lines" | "truncated">;
} {
  let lines: FoundLine[] = [];
  let first = 0;
  let size = 0;
  let truncated = false;
  return {
    add: (line) => {
      lines.push(line);
      size += line.text.length;
      while (lines.length - first > count || (size > FOUND_BYTES_MAX && lines.length - first > 1)) {
        size -= lines[first]?.text.length ?? 0;
        first += 1;
        truncated = true;
      }
      if (first < 2 * count) return;
      lines = lines.slice(first);
      first = 0;
    },
    end: () => ({ lines: lines.slice(first), truncated }),
  };
}
