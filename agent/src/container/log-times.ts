/** When a log was how long. Lines carry no time, so the agent notes it while the log grows; what lies between two notes
 * was written between their times. */
import { appendFileSync, readFileSync, statSync } from "node:fs";

import { getErrorCode } from "@strata/protocol/errors";

import { replaceFile } from "../durable-file.ts";

export type LogNote = { readonly atMs: number; readonly offset: number };

/** Two numbers of 8 bytes. */
const NOTE_BYTES = 16;
/** Of one log. When there are more, every second one goes: what is old is known less exactly. */
const NOTES_MAX = 4096;
/** A log that grows all the time is noted this often. */
const NOTE_MS = 1000;

export function logTimesPath(path: string): string {
  return `${path}.times`;
}

/** The notes of a log, in order. None when there are none, or none that can be read. */
export function readLogTimes(path: string): readonly LogNote[] {
  const bytes = readBytes(path);
  const notes: LogNote[] = [];
  for (let at = 0; at + NOTE_BYTES <= bytes.length; at += NOTE_BYTES) {
    const note = { atMs: bytes.readDoubleLE(at), offset: bytes.readDoubleLE(at + 8) };
    const last = notes.at(-1);
    // A clock that went back, or half a write: later notes are right again.
    if (last !== undefined && !(note.atMs >= last.atMs && note.offset >= last.offset)) continue;
    if (Number.isFinite(note.atMs) && Number.isFinite(note.offset)) notes.push(note);
  }
  return notes;
}

function readBytes(path: string): Buffer {
  try {
    return readFileSync(logTimesPath(path));
  } catch (error) {
    if (getErrorCode(error) === "ENOENT") return Buffer.alloc(0);
    throw error;
  }
}

export type LogLook = {
  /** Of the log, now and at the look before. */
  readonly size: number;
  readonly earlier: { readonly size: number; readonly atMs: number } | undefined;
  /** When the last note was made; undefined when that is not known. */
  readonly notedAtMs: number | undefined;
  readonly nowMs: number;
};

/** Notes that a log has grown, and returns when the last note was made. A log that was quiet before gets two notes: what
 * came now was not written while nothing came. */
export function noteLogTime(path: string, look: LogLook): number | undefined {
  const { size, earlier, notedAtMs, nowMs } = look;
  if (size === (earlier?.size ?? 0)) return notedAtMs;
  if (notedAtMs !== undefined && nowMs >= notedAtMs && nowMs - notedAtMs < NOTE_MS)
    return notedAtMs;
  const wasQuiet = earlier !== undefined && earlier.atMs - (notedAtMs ?? 0) > NOTE_MS;
  append(path, [
    ...(wasQuiet ? [{ atMs: earlier.atMs, offset: earlier.size }] : []),
    { atMs: nowMs, offset: size },
  ]);
  return nowMs;
}

function append(path: string, notes: readonly LogNote[]): void {
  appendFileSync(logTimesPath(path), encode(notes), { mode: 0o600 });
  if (statSync(logTimesPath(path)).size <= NOTES_MAX * NOTE_BYTES) return;
  const all = readLogTimes(path);
  replaceFile(logTimesPath(path), encode(all.filter((_, index) => index % 2 === 1)));
}

function encode(notes: readonly LogNote[]): Buffer {
  const bytes = Buffer.alloc(notes.length * NOTE_BYTES);
  for (const [index, { atMs, offset }] of notes.entries()) {
    bytes.writeDoubleLE(atMs, index * NOTE_BYTES);
    bytes.writeDoubleLE(offset, index * NOTE_BYTES + 8);
  }
  return bytes;
}

/** Tells the times of offsets, which must not go back from call to call. Pure. */
export function createLineClock(
  notes: readonly LogNote[],
  end: LogNote,
): (offset: number) => number {
  const all = [...notes.filter(({ offset }) => offset < end.offset), end];
  let next = 0;
  return (offset) => {
    while (next < all.length - 1 && (all[next]?.offset ?? 0) <= offset) next += 1;
    const after = all[next] ?? end;
    const before = all[next - 1];
    // Before the first note, nothing but "not later" is known.
    if (before === undefined) return after.atMs;
    const span = after.offset - before.offset;
    const share = span <= 0 ? 1 : Math.min(1, (offset - before.offset) / span);
    return Math.round(before.atMs + share * Math.max(0, after.atMs - before.atMs));
  };
}

/** Where to begin to read for what was written since then: some of it may be older. */
export function offsetBefore(notes: readonly LogNote[], atMs: number): number {
  return notes.findLast((note) => note.atMs <= atMs)?.offset ?? 0;
}
