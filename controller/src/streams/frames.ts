/** What comes over an agent's connection. */
import type { Duplex } from "node:stream";

import { createFrameDecoder, type Frame } from "@strata/protocol/agent/stream";
import { z } from "zod";

import { ControllerError, type ControllerErrorCode } from "../errors.ts";

const ErrorPayload = z.object({ code: z.string(), message: z.string() });

/** The frames of a connection; a slow reader slows the agent down. Ends with the connection.
 * @throws ControllerError STREAM_FAILED, also for the agent's last word that it failed */
export async function* framesOf(socket: Duplex): AsyncGenerator<Frame> {
  const decode = createFrameDecoder();
  try {
    for await (const chunk of socket) {
      for (const frame of decode(chunk)) {
        if (frame.type === "error") throw streamFailure(frame);
        yield frame;
      }
    }
  } catch (error) {
    throw error instanceof ControllerError ? error : brokenOff(error);
  } finally {
    socket.destroy();
  }
}

/** The bytes of one answer.
 * @throws ControllerError as `framesOf`; STREAM_FAILED when it is not whole */
export async function* outputOf(socket: Duplex): AsyncGenerator<Buffer> {
  for await (const { type, payload } of framesOf(socket)) {
    if (type === "exit") return;
    if (type === "stdout" && payload.length > 0) yield payload;
  }
  throw brokenOff();
}

/** All of one answer, as text.
 * @throws ControllerError as `outputOf`; STREAM_FAILED when it is longer than `bytesMax` */
export async function collectOutput(socket: Duplex, bytesMax: number): Promise<string> {
  const chunks: Buffer[] = [];
  let size = 0;
  for await (const chunk of outputOf(socket)) {
    size += chunk.length;
    if (size > bytesMax) throw brokenOff(new Error(`more than ${bytesMax} bytes`));
    chunks.push(chunk);
  }
  return Buffer.concat(chunks).toString("utf8");
}

/** @throws ControllerError STREAM_TIMEOUT, after which the connection is closed */
export async function answeredWithin<Value>(
  ms: number,
  socket: Duplex,
  answer: Promise<Value>,
): Promise<Value> {
  const expired = Promise.withResolvers<never>();
  const timer = setTimeout(() => {
    expired.reject(silent(ms));
    socket.destroy();
  }, ms);
  // Whichever of the two is late has nobody to be told.
  answer.catch(() => undefined);
  try {
    return await Promise.race([answer, expired.promise]);
  } finally {
    clearTimeout(timer);
  }
}

/** Bytes that come as fast as they are asked for, and how to say that nobody wants more. */
export type ByteSource = {
  /** Throws where it breaks off. */
  readonly chunks: AsyncIterator<Uint8Array>;
  readonly cancel: () => void;
};

type Refusal = { readonly code: ControllerErrorCode; readonly hint: string };

/** What the agent says no to for a reason that is not its own. */
const refusals: Readonly<Record<string, Refusal>> = {
  NOT_RUNNING: {
    code: "PROCESS_NOT_RUNNING",
    hint: "see its state and reason: GET /v1/processes/{id}",
  },
  PATH_NOT_FOUND: {
    code: "PATH_NOT_FOUND",
    hint: "look what is there: strata exec PROCESS ls -la /",
  },
  PATH_UNUSABLE: {
    code: "PATH_UNUSABLE",
    hint: "the reason is the system's: see what is at that path, who owns it, and whether there is room",
  },
  ARCHIVE_INVALID: {
    code: "ARCHIVE_INVALID",
    hint: "send a tar archive that is whole and not compressed, without .. in its names",
  },
};

/** What the agent said went wrong. */
export function streamFailure({ payload }: Frame): ControllerError {
  const parsed = ErrorPayload.safeParse(safeJson(payload.toString()));
  const { code, message } = parsed.success
    ? parsed.data
    : { code: "UNKNOWN", message: "it gave no reason" };
  const refusal = Object.hasOwn(refusals, code) ? refusals[code] : undefined;
  if (refusal !== undefined)
    return new ControllerError(refusal.code, message, { hint: refusal.hint });
  return new ControllerError("STREAM_FAILED", `the node refused: ${message} (${code})`, {
    hint: "see the process and its reason: GET /v1/processes/{id}",
  });
}

export function brokenOff(cause?: unknown): ControllerError {
  return new ControllerError("STREAM_FAILED", "the node closed the connection before the end", {
    ...(cause === undefined ? {} : { cause }),
    hint: "try again; if it stays so, look at the agent's log on the node",
    retryable: true,
  });
}

export function silent(afterMs: number): ControllerError {
  return new ControllerError("STREAM_TIMEOUT", `the node said nothing for ${afterMs} ms`, {
    hint: "try again; if it stays so, look at the agent's log on the node",
    retryable: true,
  });
}

function safeJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
