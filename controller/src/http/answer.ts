import type { Context } from "hono";
import type { ContentfulStatusCode } from "hono/utils/http-status";

import type { Outcome } from "../operations/upsert.ts";
import { etagOf } from "./precondition.ts";

/** One resource with its ETag; 201 when the request made it. */
export function answerResource(
  c: Context,
  resource: { readonly revision: number } & object,
  action: Outcome<unknown>["action"] | "read" = "read",
): Response {
  c.header("etag", etagOf(resource));
  return answerJson(c, resource, action === "created" ? 201 : 200);
}

/** JSON with a line break at its end: most who read it sit at a terminal. */
export function answerJson(
  c: Context,
  value: object,
  status: ContentfulStatusCode = 200,
): Response {
  return c.body(`${JSON.stringify(value)}\n`, status, { "content-type": "application/json" });
}

export function answerNothing(c: Context): Response {
  return c.body(null, 204);
}
