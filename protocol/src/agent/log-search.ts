/** Looks for lines in the logs of processes. Each node searches its own; a search is a `logs` stream with `search`. */
import { z } from "zod";

/** Longer lines are searched and shown in pieces. */
export const LOG_LINE_BYTES_MAX = 64 * 1024;
export const LOG_PATTERN_MAX = 1000;
export const LOG_LINES_MAX = 10_000;

export const LogPattern = z.object({
  text: z.string().min(1).max(LOG_PATTERN_MAX),
  /** `text` is a regular expression of RE2: no look-around, no back references, time linear in the line. */
  regex: z.boolean(),
  ignoreCase: z.boolean(),
});
export type LogPattern = z.infer<typeof LogPattern>;

export const LogSearch = z.object({
  /** Milliseconds since 1970, by the node's clock. */
  sinceMs: z.number().optional(),
  untilMs: z.number().optional(),
  pattern: LogPattern.optional(),
  /** The last so many lines of what is found. */
  tail: z.int().min(1).max(LOG_LINES_MAX),
});
export type LogSearch = z.infer<typeof LogSearch>;

/** The answer: lines of JSON in `stdout` frames, a head, the found lines in their order, and an end. An agent that does
 * not know searches sends the log as it is, which has no such head. */
export const LogSearchHead = z.object({ strataLogSearch: z.literal(1) });
export type LogSearchHead = z.infer<typeof LogSearchHead>;

export const FoundLine = z.object({
  /** When it was written: between two looks of the agent, so to a second or two. */
  atMs: z.number(),
  /** Byte of the log at which it begins. */
  offset: z.int().nonnegative(),
  text: z.string(),
});
export type FoundLine = z.infer<typeof FoundLine>;

export const LogSearchEnd = z.object({
  /** There was more than `tail` or the limit of bytes let through. */
  truncated: z.boolean(),
  /** The search took too long; what is older was not looked at. */
  timedOut: z.boolean(),
});
export type LogSearchEnd = z.infer<typeof LogSearchEnd>;
