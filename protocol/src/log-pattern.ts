import { RE2JS, RE2JSException } from "re2js";

import type { LogPattern } from "./agent/log-search.ts";
import { ParseError } from "./coded-error.ts";

/** Whether a line has what is looked for. Regular expressions are RE2's, whose time is linear in the line: no pattern
 * can hold the program up.
 * @throws ParseError when it is no regular expression */
export function compileLogPattern({
  text,
  regex,
  ignoreCase,
}: LogPattern): (line: string) => boolean {
  if (!regex && !ignoreCase) return (line) => line.includes(text);
  const source = regex ? text : RE2JS.quote(text);
  try {
    const compiled = RE2JS.compile(source, ignoreCase ? RE2JS.CASE_INSENSITIVE : 0);
    return (line) => compiled.test(line);
  } catch (cause) {
    if (!(cause instanceof RE2JSException)) throw cause;
    throw new ParseError(`${JSON.stringify(text)} is not a regular expression of RE2`, {
      cause,
      hint: "look-around and back references are not known; without regex=true the text is taken as it is",
    });
  }
}
