import type { Context } from "hono";

import type { Outcome } from "../operations/upsert.ts";
import { etagOf } from "./precondition.ts";

/** One resource with its ETag; 201 when the request made it. */
export function answerResource(
  c: Context,
  resource: { readonly revision: number } & object,
  action: Outcome<unknown>["action"] | "read" = "read",
): Response {
  c.header("etag", etagOf(resource));
  return c.json(resource, action === "created" ? 201 : 200);
}

export function answerNothing(c: Context): Response {
  return c.body(null, 204);
}
