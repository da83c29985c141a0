import { createHash } from "node:crypto";
import { createReadStream } from "node:fs";
import { pipeline } from "node:stream/promises";

import { selfCommand } from "../self-exec.ts";

/** The file that this agent runs from, and its neighbours. */
export type Program = {
  readonly file: string;
  /** Where the new one lies until it has proved itself. */
  readonly fresh: string;
  /** The one before, kept for people. */
  readonly old: string;
};

/** Undefined where the agent runs from its source, which no single file replaces. */
export function findProgram(): Program | undefined {
  const { file, args } = selfCommand();
  if (args.length > 0) return undefined;
  // The trial of a new program runs from its temporary name.
  const installed = file.endsWith(".new") ? file.slice(0, -".new".length) : file;
  return { file: installed, fresh: `${installed}.new`, old: `${installed}.old` };
}

/** What runs here, whatever has become of its file since. */
export const RUNNING_PROGRAM = "/proc/self/exe";

const READ_BYTES = 1024 * 1024;

/** Lower-case hex. */
export async function hashFile(path: string): Promise<string> {
  const hash = createHash("sha256");
  await pipeline(createReadStream(path, { highWaterMark: READ_BYTES }), hash);
  return hash.digest("hex");
}
