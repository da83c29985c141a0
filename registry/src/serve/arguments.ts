import { parseArgs, type ParseArgsOptionsConfig } from "node:util";

import { ServeError } from "./errors.ts";

export type Arguments = {
  readonly words: readonly string[];
  readonly text: (name: string) => string | undefined;
  readonly list: (name: string) => readonly string[];
  readonly flag: (name: string) => boolean;
};

/** What a command understands: each option and whether it takes a value, and how often it may stand. */
export type OptionKinds = Readonly<Record<string, "text" | "list" | "flag">>;

/** @throws ServeError USAGE for what is not among `kinds`, or for more than `wordsMax` other words */
export function readArguments(
  args: readonly string[],
  kinds: OptionKinds,
  wordsMax: number,
): Arguments {
  const options: ParseArgsOptionsConfig = { help: { type: "boolean", short: "h" } };
  for (const [name, kind] of Object.entries(kinds)) {
    options[name] =
      kind === "flag" ? { type: "boolean" } : { type: "string", multiple: kind === "list" };
  }
  const { values, positionals } = parse(args, options);
  const extra = positionals[wordsMax];
  if (extra !== undefined) {
    throw new ServeError("USAGE", `${JSON.stringify(extra)} is not understood here`, {
      hint: "see --help",
    });
  }
  return {
    words: positionals,
    text: (name) => {
      const value = values[name];
      return typeof value === "string" ? value : undefined;
    },
    list: (name) => {
      const value = values[name];
      return Array.isArray(value) ? value.map(String) : [];
    },
    flag: (name) => values[name] === true,
  };
}

function parse(
  args: readonly string[],
  options: ParseArgsOptionsConfig,
): Pick<ReturnType<typeof parseArgs>, "values" | "positionals"> {
  try {
    return parseArgs({ args: [...args], options, allowPositionals: true });
  } catch (cause) {
    const message = cause instanceof Error ? cause.message : String(cause);
    throw new ServeError("USAGE", message.split(".")[0] ?? message, { cause, hint: "see --help" });
  }
}
