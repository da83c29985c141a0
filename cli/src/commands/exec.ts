import { findProcess } from "../api/find-process.ts";
import { openSession, pathSegment } from "../api/session.ts";
import type { Invocation } from "../command.ts";
import { CliError } from "../errors.ts";
import { getFlag, getList, getText } from "../options.ts";
import { attach } from "../stream/attach.ts";

export async function run(invocation: Invocation): Promise<number> {
  const { context, args, options } = invocation;
  const [name = "", ...rest] = args;
  // The parser leaves the one that ends our own options among the command's words.
  const command = rest[0] === "--" ? rest.slice(1) : rest;
  if (command.length === 0) throw new CliError("USAGE", "exec wants a command after --");
  const isTerminal = getFlag(options, "tty");
  if (isTerminal && (context.stdin.isTTY !== true || context.stdout.isTTY !== true)) {
    throw new CliError("USAGE", "-t needs a terminal on standard input and output", {
      hint: "leave -t out, and keep -i to send standard input",
    });
  }
  const client = await openSession(invocation);
  const { id } = await findProcess(client, { name, tenant: getText(options, "tenant") });
  const query = new URLSearchParams([
    ...command.map((argument) => ["command", argument]),
    ...getList(options, "env").map((variable) => ["env", variable]),
    ...(isTerminal ? terminalQuery(context.env["TERM"]) : []),
  ]);
  const socket = await client.upgrade(`/v1/processes/${pathSegment(id)}/exec?${query.toString()}`);
  return attach(socket, context, { isTerminal, isInteractive: getFlag(options, "interactive") });
}

/** The command inside has to draw for the terminal outside. */
function terminalQuery(terminal: string | undefined): readonly [string, string][] {
  const env: [string, string][] = terminal === undefined ? [] : [["env", `TERM=${terminal}`]];
  return [["tty", "true"], ...env];
}
