/** What was given on the command line, read with its type. */
import { CliError } from "./errors.ts";

export type Options = Readonly<Record<string, unknown>>;

export function getText(options: Options, name: string): string | undefined {
  const value = options[name];
  return typeof value === "string" ? value : undefined;
}

export function getFlag(options: Options, name: string): boolean {
  return options[name] === true;
}

/** An option that may be given several times. */
export function getList(options: Options, name: string): readonly string[] {
  const value = options[name];
  return Array.isArray(value) ? value.map(String) : [];
}

/** @throws CliError USAGE when it is given and no whole number from 0 on. */
export function getCount(options: Options, name: string): number | undefined {
  const text = getText(options, name);
  return text === undefined ? undefined : parseCount(text, `--${name}`);
}

export function parseCount(text: string, what: string): number {
  if (/^\d{1,9}$/.test(text)) return Number(text);
  throw new CliError("USAGE", `${what} wants a whole number, not ${JSON.stringify(text)}`);
}

/** One of a few words.
 * @throws CliError USAGE */
export function requireChoice<Choice extends string>(
  value: string,
  choices: readonly Choice[],
  what: string,
): Choice {
  const found = choices.find((choice) => choice === value);
  if (found !== undefined) return found;
  throw new CliError(
    "USAGE",
    `${what} wants one of ${choices.join(", ")}, not ${JSON.stringify(value)}`,
  );
}
