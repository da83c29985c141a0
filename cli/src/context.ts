import type { Readable, Writable } from "node:stream";

/** What a command sees of the machine that it runs on. Made once, in `main.ts`. */
export type Context = {
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly stdin: Readable & { readonly isTTY?: boolean };
  readonly stdout: Output;
  /** Everything that is not the answer: progress, warnings, errors. */
  readonly stderr: Output;
  readonly isRoot: boolean;
  readonly now: () => number;
  /** Aborted by the first interrupt. */
  readonly signal: AbortSignal;
};

export type Output = Writable & {
  readonly isTTY?: boolean;
  readonly columns?: number;
  readonly rows?: number;
};

/** https://no-color.org: any value that is not empty turns colours off. */
export function hasColor(context: Context, output: Output): boolean {
  const { NO_COLOR: off = "", TERM: terminal } = context.env;
  return output.isTTY === true && off === "" && terminal !== "dumb";
}

export function print(context: Context, text: string): void {
  context.stdout.write(`${text}\n`);
}

/** A line for the person at the terminal; never part of an answer. */
export function say(context: Context, text: string): void {
  context.stderr.write(`${text}\n`);
}
