import { z } from "zod";

export { CodedError, getErrorCode, ParseError } from "./coded-error.ts";

/** The body of every error answer of the control API: RFC 9457, "The Problem Details JSON Object". */
export const Problem = z.object({
  type: z.string(),
  title: z.string(),
  status: z.int(),
  /** Stable, for programs. Listed with its remedy in docs/reference/errors.md. */
  code: z.string(),
  detail: z.string(),
  /** What to do about it. */
  hint: z.string().optional(),
  /** Of the state that says so: an agent does not obey that of another. */
  epoch: z.string().optional(),
  /** One entry for each field that was refused. */
  errors: z.array(z.object({ path: z.string(), message: z.string() })).optional(),
});
export type Problem = z.infer<typeof Problem>;
