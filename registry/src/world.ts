import type { Readable, Writable } from "node:stream";

/** Everything ambient that a command of the stand-alone store needs, handed in by main.ts. */
export type World = {
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly stdin: Readable;
  /** The answer. */
  readonly stdout: Writable;
  /** Progress, the log, errors. */
  readonly stderr: Writable & { readonly isTTY?: boolean };
  /** Milliseconds since 1970. */
  readonly clock: () => number;
  readonly newId: () => string;
  readonly randomBytes: (count: number) => Uint8Array;
  /** Aborted by SIGINT or SIGTERM. */
  readonly signal: AbortSignal;
};
