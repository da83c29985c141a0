import type { Context } from "./context.ts";
import type { Options } from "./options.ts";

/** One command as data: what the parser, the help and the completions know of it. Its code is loaded when it runs,
 * so that a command pays at its start for nothing that it does not use. */
export type CommandSpec = {
  /** Name and arguments: `get <kind> [name]`. */
  readonly syntax: string;
  readonly summary: string;
  readonly options?: readonly OptionSpec[];
  /** Options after the first argument belong to what it names: `exec web ls -l`. */
  readonly passesOptionsOn?: boolean;
  /** What its arguments are, for completions: one for each, the last for all further ones. */
  readonly completes?: readonly Completed[];
  /** Not in the help. */
  readonly isHidden?: boolean;
} & (
  | { readonly load: () => Promise<CommandModule> }
  | { readonly children: readonly CommandSpec[] }
);

/** `name` is one of the kind before it. */
export type Completed =
  | "kind"
  | "name"
  | "alias"
  | "process"
  | "node"
  | "partition"
  | "shell"
  | "path";

export type OptionSpec = {
  /** `-f, --file <path>` */
  readonly flags: string;
  readonly summary: string;
  readonly isRepeatable?: boolean;
};

export type CommandModule = { readonly run: (invocation: Invocation) => Promise<number | void> };

export type Invocation = {
  readonly context: Context;
  readonly args: readonly string[];
  readonly options: Options;
};
