import { statSync } from "node:fs";

import { z } from "zod";

import { readOptionalFile, replaceFile } from "../durable-file.ts";
import { giveBack, readStart } from "./logs.ts";

/** Lines carry no time, so now and then it is noted how long a log is: what is before a note that is old enough is older
 * still. A note is made once in this share of the age that is kept. */
const NOTES_PER_AGE = 16;

const Notes = z.array(z.object({ offset: z.int().nonnegative(), atMs: z.number() }));
type Notes = z.infer<typeof Notes>;

/** Time that this node's agent has run, over all its lives. No step of the calendar's clock ages a log. */
export type LogClock = { readonly tick: () => number };

/** `readUptimeMs` is the kernel's; `path` keeps the sum. */
export function createLogClock(path: string, readUptimeMs: () => number): LogClock {
  let uptimeMs = readUptimeMs();
  let sumMs = Number(readOptionalFile(path) ?? 0) || 0;
  return {
    tick: () => {
      const nowMs = readUptimeMs();
      sumMs += Math.max(0, nowMs - uptimeMs);
      uptimeMs = nowMs;
      replaceFile(path, String(sumMs));
      return sumMs;
    },
  };
}

export type AgeOptions = { readonly nowMs: number; readonly ageMsMax: number };

/** Gives back what is older than `ageMsMax`, by the log's clock; some of it stays up to a sixteenth longer. */
export async function ageLog(path: string, { nowMs, ageMsMax }: AgeOptions): Promise<void> {
  const size = statSync(path, { throwIfNoEntry: false })?.size ?? 0;
  if (size === 0) return;
  const notes = readNotes(path);
  const expired = notes.findLast(({ atMs }) => nowMs - atMs >= ageMsMax);
  if (expired !== undefined) await giveBack(path, Math.min(expired.offset, size));
  const kept = expired === undefined ? notes : notes.slice(notes.indexOf(expired) + 1);
  const last = kept.at(-1);
  const isDue =
    last === undefined
      ? size > readStart(path)
      : size > last.offset && nowMs - last.atMs >= ageMsMax / NOTES_PER_AGE;
  const next = isDue ? [...kept, { offset: size, atMs: nowMs }] : kept;
  if (next.length !== notes.length || isDue) replaceFile(notesPath(path), JSON.stringify(next));
}

function notesPath(path: string): string {
  return `${path}.ages`;
}

/** What does not parse is made anew: then the log is kept longer. */
function readNotes(path: string): Notes {
  try {
    return Notes.parse(JSON.parse(readOptionalFile(notesPath(path)) ?? "[]"));
  } catch {
    return [];
  }
}
