import type { Context } from "hono";

import { ControllerError } from "../errors.ts";
import type { Precondition } from "../operations/upsert.ts";

/** From `If-Match: "3"` or `*`, or `If-None-Match: *`. @throws ControllerError INVALID */
export function readPrecondition(c: Context): Precondition {
  if (c.req.header("if-none-match")?.trim() === "*") return "none";
  const text = c.req.header("if-match")?.trim();
  if (text === undefined) return undefined;
  if (text === "*") return "any";
  const match = /^(?:W\/)?"?(\d{1,15})"?$/.exec(text);
  if (match !== null) return Number(match[1]);
  throw new ControllerError("INVALID", "If-Match holds no revision", {
    hint: 'send the ETag of the GET, for example If-Match: "3"',
  });
}

export function etagOf({ revision }: { readonly revision: number }): string {
  return `"${revision}"`;
}
