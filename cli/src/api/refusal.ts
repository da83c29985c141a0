/** What the server refused, in its own words: RFC 9457, "The Problem Details JSON Object". Read by hand, because
 * loading zod takes longer than the request. */
import type { Problem } from "@strata/protocol/errors";

import { CliError } from "../errors.ts";

type Answer = { readonly status: number; readonly body: string };

/** A "no" of the controller. */
export class RefusedError extends CliError {
  readonly status: number;

  constructor(status: number, message: string, hint: string | undefined) {
    super("REFUSED", message, hint === undefined ? {} : { hint });
    this.status = status;
  }
}

/** @throws RefusedError for anything but 2xx. */
export function requireSuccess(answer: Answer): void {
  if (answer.status >= 200 && answer.status < 300) return;
  const problem = parseProblem(answer.body);
  if (problem === undefined) {
    const said = `the server answered with status ${answer.status}`;
    throw new RefusedError(answer.status, said, "is this the address of a Strata controller?");
  }
  const fields = problem.errors.map(({ path, message }) => `\n  ${path}: ${message}`);
  const message = `${problem.detail} (${problem.code})${fields.join("")}`;
  throw new RefusedError(answer.status, message, problem.hint);
}

/** True for an answer that says that there is no such thing. */
export function isNotFound(error: unknown): boolean {
  return error instanceof RefusedError && error.status === 404;
}

type Said = Pick<Problem, "code" | "detail"> & {
  readonly hint: string | undefined;
  readonly errors: NonNullable<Problem["errors"]>;
};

function parseProblem(body: string): Said | undefined {
  try {
    const value: unknown = JSON.parse(body);
    if (typeof value !== "object" || value === null) return undefined;
    const { code, detail, hint, errors = [] } = value as Partial<Problem>;
    if (typeof code !== "string" || typeof detail !== "string" || !Array.isArray(errors))
      return undefined;
    return { code, detail, errors, hint: typeof hint === "string" ? hint : undefined };
  } catch {
    return undefined;
  }
}
