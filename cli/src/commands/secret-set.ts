import { readFile } from "node:fs/promises";
import { buffer } from "node:stream/consumers";

import type { Secret } from "@strata/protocol/api/resources";
import { getErrorCode } from "@strata/protocol/coded-error";

import { sendResource } from "../api/resource.ts";
import { openSession, pathSegment, withQuery } from "../api/session.ts";
import type { Invocation } from "../command.ts";
import { type Context, print, say } from "../context.ts";
import { CliError } from "../errors.ts";
import { getText } from "../options.ts";

/** The value never stands on the command line, which everybody on the machine can read. */
export async function run(invocation: Invocation): Promise<void> {
  const { context, args, options } = invocation;
  const [name = ""] = args;
  const value = await readValue(context, getText(options, "fromFile") ?? "-");
  if (value.length === 0) throw new CliError("USAGE", "an empty value is no secret");
  const client = await openSession(invocation);
  const tenant = getText(options, "tenant");
  const { version } = await sendResource<Secret>(client, {
    method: "PUT",
    path: withQuery(`/v1/secrets/${pathSegment(name)}`, { tenant }),
    body: { base64: value.toString("base64") },
  });
  print(context, `Secret/${name} is at version ${version}`);
}

async function readValue(context: Context, file: string): Promise<Buffer> {
  if (file === "-") {
    if (context.stdin.isTTY === true) say(context, "type the value; Ctrl-D at the end of it");
    return buffer(context.stdin);
  }
  try {
    return await readFile(file);
  } catch (cause) {
    const code = getErrorCode(cause);
    if (code !== "ENOENT" && code !== "EISDIR") throw cause;
    throw new CliError("USAGE", `${file} is not a file`, { cause });
  }
}
