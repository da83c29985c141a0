import type { IncomingMessage } from "node:http";

import type { Context } from "hono";

import { RegistryError } from "../errors.ts";
import type { RegistryLimits } from "../limits.ts";
import { type RegistryEnv, requestHeader } from "./env.ts";

export type BodyLimits = Pick<
  RegistryLimits,
  "bodyFirstByteMsMax" | "bodySilenceMsMax" | "bodyDurationMsMax"
>;

/** The bytes of a request's body, straight from the socket. */
export type RequestBody = {
  /** From `Content-Length`; undefined when the body is sent in chunks. */
  readonly lengthBytes: number | undefined;
  /** To be read once. Each chunk belongs to the consumer, who may give its memory away.
   * A consumer may stop early: the connection stays usable for the answer.
   * Rejects with UPLOAD_TIMEOUT when the client falls silent, BLOB_UPLOAD_INVALID when it hangs up. */
  readonly chunks: AsyncIterable<Buffer>;
};

export function requestBody(context: Context<RegistryEnv>, limits: BodyLimits): RequestBody {
  const length = requestHeader(context, "content-length");
  const chunked = requestHeader(context, "transfer-encoding") !== undefined;
  return {
    lengthBytes: length === undefined ? (chunked ? undefined : 0) : Number(length),
    chunks: readWithDeadlines(context.env.incoming, limits),
  };
}

const wakingEvents = ["readable", "end", "error", "close"] as const;

/** Node's own `requestTimeout` cannot tell a slow upload from a dead one, so embedders turn it off and this stands
 * for it. Not `for await (… of incoming)`: that destroys the socket when left early, and no answer gets out. */
async function* readWithDeadlines(
  incoming: IncomingMessage,
  limits: BodyLimits,
): AsyncGenerator<Buffer> {
  let expired = false;
  let wake = (): void => undefined;
  const expire = (): void => {
    expired = true;
    wake();
  };
  const onEvent = (): void => wake();
  for (const event of wakingEvents) incoming.on(event, onEvent);
  const lifetime = setTimeout(expire, limits.bodyDurationMsMax);
  let silenceMsMax = limits.bodyFirstByteMsMax;
  try {
    for (;;) {
      const chunk = parseChunk(incoming.read());
      if (expired) throw timeoutError();
      if (chunk !== undefined) {
        silenceMsMax = limits.bodySilenceMsMax;
        yield chunk;
        continue;
      }
      if (incoming.readableEnded) return;
      if (incoming.destroyed) throw hangUpError(incoming.errored);
      const silence = setTimeout(expire, silenceMsMax);
      await new Promise<void>((resolve) => (wake = resolve));
      clearTimeout(silence);
    }
  } finally {
    clearTimeout(lifetime);
    for (const event of wakingEvents) incoming.off(event, onEvent);
  }
}

function parseChunk(chunk: unknown): Buffer | undefined {
  // Without an encoding, an IncomingMessage reads as Buffers or null.
  return chunk === null ? undefined : (chunk as Buffer);
}

function timeoutError(): RegistryError {
  return new RegistryError("UPLOAD_TIMEOUT", "the client sent nothing for too long", {
    hint: "ask for the upload's status and resume after the last byte stored",
    headers: { connection: "close" },
  });
}

function hangUpError(cause: unknown): RegistryError {
  return new RegistryError("BLOB_UPLOAD_INVALID", "the client closed the connection in mid body", {
    cause,
  });
}

/** The whole of a small body.
 * @throws RegistryError MANIFEST_TOO_LARGE */
export async function readSmallBody(body: RequestBody, sizeBytesMax: number): Promise<Buffer> {
  const tooLarge = (): RegistryError =>
    new RegistryError("MANIFEST_TOO_LARGE", `a manifest has at most ${sizeBytesMax} bytes`, {
      hint: "move large annotations into a blob of their own",
    });
  if (body.lengthBytes !== undefined && body.lengthBytes > sizeBytesMax) throw tooLarge();
  const chunks: Buffer[] = [];
  let size = 0;
  for await (const chunk of body.chunks) {
    size += chunk.length;
    if (size > sizeBytesMax) throw tooLarge();
    chunks.push(chunk);
  }
  return Buffer.concat(chunks, size);
}
