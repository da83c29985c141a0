import { readFile } from "node:fs/promises";
import { text } from "node:stream/consumers";

import { getErrorCode } from "@strata/protocol/coded-error";

import type { Context } from "./context.ts";
import { CliError } from "./errors.ts";

/** What a file of the command line holds; `-` is standard input.
 * @throws CliError USAGE when there is no such file */
export async function readText(context: Context, file: string): Promise<string> {
  if (file === "-") return text(context.stdin);
  try {
    return await readFile(file, "utf8");
  } catch (cause) {
    const code = getErrorCode(cause);
    if (code !== "ENOENT" && code !== "EISDIR") throw cause;
    throw new CliError("USAGE", `${file} is not a file`, { cause });
  }
}
