/** The command line, parsed by commander from the table of commands. */
import { Command, CommanderError, Option } from "commander";

import type { CommandSpec, OptionSpec } from "./command.ts";
import { commands, globalOptions } from "./commands.ts";
import type { Context } from "./context.ts";
import { exitCodeOf, exitCodes } from "./errors.ts";
import { reportError } from "./output/report-error.ts";
import { VERSION } from "./version.ts";

const help = `
Exit status: 0 done, 1 refused by the server, 2 wrong use, 3 server not reached, 4 waited in vain,
5 failed on this machine; exec ends with the status of its command.
Environment: STRATA_URL, STRATA_TOKEN and STRATA_CA (a file) win over what login remembers; NO_COLOR.
Without both, root uses this machine's controller; STRATA_DATA names one that was moved.`;

/** Runs one command line and gives back the exit status. Never throws. */
export async function runProgram(argv: readonly string[], context: Context): Promise<number> {
  let status: number = exitCodes.ok;
  const program = createProgram(context, (code) => {
    status = code;
  });
  try {
    await program.parseAsync(argv, { from: "user" });
    return status;
  } catch (error) {
    if (error instanceof CommanderError) {
      return error.exitCode === 0 ? exitCodes.ok : exitCodes.usage;
    }
    if (context.signal.aborted) return exitCodes.interrupted;
    reportError(context, error);
    return exitCodeOf(error);
  }
}

function createProgram(context: Context, onStatus: (status: number) => void): Command {
  const program = new Command("strata")
    .description("Runs universal cartridges: OCI images as unprivileged LXC containers.")
    .version(VERSION, "-V, --version")
    .enablePositionalOptions()
    .exitOverride()
    .configureOutput({
      writeOut: (text) => context.stdout.write(text),
      writeErr: (text) => context.stderr.write(text),
    })
    .showSuggestionAfterError()
    .showHelpAfterError("hint: add --help to see how it is used")
    .addHelpText("after", help);
  for (const spec of commands) addCommand(program, spec, { context, onStatus });
  return program;
}

type Wiring = { readonly context: Context; readonly onStatus: (status: number) => void };

function addCommand(parent: Command, spec: CommandSpec, wiring: Wiring): void {
  // Of the parent it inherits how to exit and where to print.
  const hidden = spec.isHidden === true;
  const command = parent.command(spec.syntax, { hidden }).description(spec.summary);
  if ("children" in spec) {
    for (const child of spec.children) addCommand(command, child, wiring);
    return;
  }
  for (const option of [...(spec.options ?? []), ...globalOptions])
    command.addOption(toOption(option));
  if (spec.passesOptionsOn === true) command.passThroughOptions();
  command.action(async () => {
    const module = await spec.load();
    const { context } = wiring;
    const code = await module.run({ context, args: command.args, options: command.opts() });
    if (typeof code === "number") wiring.onStatus(code);
  });
}

function toOption({ flags, summary, isRepeatable }: OptionSpec): Option {
  const option = new Option(flags, summary);
  if (isRepeatable !== true) return option;
  return option.default([]).argParser<readonly string[]>((value, before) => [...before, value]);
}
