/** Milliseconds since the Unix epoch. Handed in by `main.ts`, so that tests own the time. */
export type Clock = () => number;

/** RFC 3339 in UTC, as all messages carry times. */
export function formatTime(epochMs: number): string {
  return new Date(epochMs).toISOString();
}
