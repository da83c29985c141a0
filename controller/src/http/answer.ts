import type { HttpBindings } from "@hono/node-server";
import type { Context } from "hono";
import type { ContentfulStatusCode } from "hono/utils/http-status";

import type { Outcome } from "../operations/upsert.ts";
import type { ByteSource } from "../streams/frames.ts";
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

/** Bytes as they come. Where they break off the connection is closed: the status was sent long ago, and nothing else
 * tells the reader that this is not all. */
export function answerBytes(
  c: Context,
  { chunks, cancel }: ByteSource,
  headers: Readonly<Record<string, string>>,
): Response {
  // There is none in a test without sockets.
  const bindings: Partial<HttpBindings> | undefined = c.env;
  const connection = bindings?.outgoing;
  const body = new ReadableStream<Uint8Array>({
    pull: async (controller) => {
      try {
        const { done, value } = await chunks.next();
        if (done === true) controller.close();
        else controller.enqueue(value);
      } catch (error) {
        // Left to itself, the server would write the error's text into the body and end it as if it were whole.
        if (connection === undefined) throw error;
        connection.destroy();
        controller.close();
      }
    },
    cancel,
  });
  return c.body(body, 200, headers);
}
