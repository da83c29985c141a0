import { createInterface } from "node:readline/promises";
import { Writable } from "node:stream";

import type { Context } from "../context.ts";

/** Asks the person at the terminal; undefined where there is none. A secret is not shown while it is typed. */
export async function ask(
  { stdin, stderr, signal }: Context,
  question: string,
  { isSecret = false }: { readonly isSecret?: boolean } = {},
): Promise<string | undefined> {
  if (stdin.isTTY !== true) return undefined;
  stderr.write(question);
  const nowhere = new Writable({ write: (_chunk, _encoding, done) => done() });
  const lines = createInterface({
    input: stdin,
    output: isSecret ? nowhere : stderr,
    terminal: true,
  });
  try {
    return await lines.question("", { signal });
  } finally {
    lines.close();
    if (isSecret) stderr.write("\n");
  }
}
