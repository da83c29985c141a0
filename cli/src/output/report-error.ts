import { CodedError } from "@strata/protocol/coded-error";

import { type Context, say } from "../context.ts";
import { painter } from "./style.ts";

/** Says on standard error what went wrong and what to do about it. */
export function reportError(context: Context, error: unknown): void {
  const paint = painter(context, context.stderr);
  const message = error instanceof Error ? error.message : String(error);
  say(context, `${paint("red", "error:")} ${message}`);
  for (const cause of causesOf(error)) say(context, `  because: ${cause}`);
  if (error instanceof CodedError && error.hint !== undefined) {
    say(context, `${paint("cyan", "hint:")} ${error.hint}`);
  }
}

const CAUSES_SHOWN_MAX = 3;

function causesOf(error: unknown): readonly string[] {
  const causes: string[] = [];
  let current = error instanceof Error ? error.cause : undefined;
  while (current instanceof Error && causes.length < CAUSES_SHOWN_MAX) {
    // A failed connection is one error for each address that was tried, and has itself no text.
    const texts =
      current instanceof AggregateError ? current.errors.map(String) : [current.message];
    causes.push(texts.join("; "));
    current = current.cause;
  }
  return causes;
}
