/** Settings come from the environment as text; what is not understood stops the program with what it may be. */
import { AgentError } from "./errors.ts";

export type Environment = Readonly<Record<string, string | undefined>>;

export type CountRule = { readonly fallback: number; readonly min: number; readonly max: number };

/** @throws AgentError CONFIG_INVALID unless it is a whole number in its bounds */
export function parseCount(environment: Environment, name: string, rule: CountRule): number {
  const text = environment[name] ?? String(rule.fallback);
  const value = Number(text);
  if (/^\d+$/.test(text) && value >= rule.min && value <= rule.max) return value;
  throw invalid(name, text, `give a whole number from ${rule.min} to ${rule.max}`);
}

export function invalid(name: string, text: string, hint: string): AgentError {
  return new AgentError("CONFIG_INVALID", `${name} is ${JSON.stringify(text)}`, { hint });
}
