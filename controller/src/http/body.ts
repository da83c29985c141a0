import { parseStrictJson } from "@strata/protocol/oci/strict-json";
import type { Context } from "hono";

import { ControllerError } from "../errors.ts";

const BODY_BYTES_MAX = 1024 * 1024;
const BODY_MS_MAX = 30_000;

/** The body whole, within its limits of size and time.
 * @throws ControllerError BODY_TOO_LARGE, BODY_TIMEOUT */
export async function readBody(
  c: Context,
  sizeBytesMax: number = BODY_BYTES_MAX,
): Promise<Uint8Array> {
  const declared = c.req.header("content-length");
  if (Number(declared ?? 0) > sizeBytesMax) throw tooLarge(sizeBytesMax);
  const expired = Promise.withResolvers<never>();
  const timer = setTimeout(() => {
    expired.reject(
      new ControllerError("BODY_TIMEOUT", `the body did not arrive in ${BODY_MS_MAX / 1000} s`, {
        hint: "send it again",
      }),
    );
  }, BODY_MS_MAX);
  try {
    // Node holds it to the length that it declared, and a web stream costs more than the rest of a beat.
    return declared === undefined
      ? await readStream(c, sizeBytesMax, expired.promise)
      : new Uint8Array(await Promise.race([c.req.raw.arrayBuffer(), expired.promise]));
  } finally {
    clearTimeout(timer);
  }
}

async function readStream(
  c: Context,
  sizeBytesMax: number,
  expired: Promise<never>,
): Promise<Uint8Array> {
  const { body } = c.req.raw;
  if (body === null) return new Uint8Array();
  const reader: ReadableStreamDefaultReader<Uint8Array> = body.getReader();
  try {
    const chunks: Uint8Array[] = [];
    let size = 0;
    for (;;) {
      const { done, value } = await Promise.race([reader.read(), expired]);
      if (done) return Buffer.concat(chunks, size);
      size += value.byteLength;
      if (size > sizeBytesMax) throw tooLarge(sizeBytesMax);
      chunks.push(value);
    }
  } finally {
    reader.releaseLock();
  }
}

/** JSON that all parsers read alike. No body at all is an empty object: many PUTs need no field.
 * @throws ControllerError JSON_INVALID */
export function parseJsonBody(bytes: Uint8Array): unknown {
  if (bytes.byteLength === 0) return {};
  try {
    return parseStrictJson(bytes);
  } catch (error) {
    throw new ControllerError("JSON_INVALID", `the body is not plain JSON: ${reason(error)}`, {
      cause: error,
      hint: "send one JSON value in UTF-8, with no key twice in one object",
    });
  }
}

function reason(error: unknown): string {
  if (!(error instanceof Error)) return "unknown";
  return error.cause instanceof SyntaxError ? error.cause.message : error.message;
}

function tooLarge(sizeBytesMax: number): ControllerError {
  return new ControllerError("BODY_TOO_LARGE", `the body is larger than ${sizeBytesMax} bytes`, {
    hint: "send less at once; images go to the store at /v2/",
  });
}
