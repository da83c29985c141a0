import type { Duplex } from "node:stream";
import { setTimeout as delay } from "node:timers/promises";

import { z } from "zod";

import { ControllerError } from "../errors.ts";
import { brokenOff, type ByteSource, framesOf } from "./frames.ts";

const Position = z.object({ offset: z.int().nonnegative() });

/** Agents of earlier versions say nothing before there is output. */
const HEAD_PATIENCE_MS = 10_000;
const RESUME_ATTEMPTS_MAX = 120;
const RESUME_FIRST_MS = 100;
const RESUME_MS_MAX = 5000;

export type LogSource = {
  /** A new connection to the node; a log that is gone on with begins at byte `from`.
   * @throws ControllerError */
  readonly open: (from: number | undefined, signal: AbortSignal) => Promise<Duplex>;
  /** False once there is no such process any more. */
  readonly isThere: () => boolean;
};

export type OpenLog = ByteSource & {
  /** Of the first byte; undefined where the agent does not say it. */
  readonly offset: number | undefined;
};

/** The text of a log, both outputs as they came. When the node's connection breaks, it is gone on with at the byte where
 * it broke: whoever reads notices nothing of an agent that restarts. A reader that is slow slows the node down; one
 * that goes away closes the connection.
 * @throws ControllerError when the node refuses before it sends anything. */
export async function openLog(source: LogSource, client: AbortSignal): Promise<OpenLog> {
  const gone = new AbortController();
  const parts = followLog(source, AbortSignal.any([gone.signal, client]));
  const first = parts.next();
  first.catch(() => undefined);
  const patience = Promise.withResolvers<undefined>();
  const timer = setTimeout(() => patience.resolve(undefined), HEAD_PATIENCE_MS);
  const begun = await Promise.race([first, patience.promise]).finally(() => clearTimeout(timer));
  return {
    offset: begun?.value?.offset,
    chunks: textOf(first, parts),
    cancel: () => gone.abort(),
  };
}

/** Bytes, and where in the log they are; undefined where the agent does not say it. */
type LogPart = { readonly offset: number | undefined; readonly bytes: Buffer };

async function* textOf(
  first: Promise<IteratorResult<LogPart>>,
  parts: AsyncIterator<LogPart>,
): AsyncGenerator<Buffer> {
  for (let part = await first; part.done !== true; part = await parts.next())
    if (part.value.bytes.length > 0) yield part.value.bytes;
}

async function* followLog(source: LogSource, gone: AbortSignal): AsyncGenerator<LogPart> {
  let at: number | undefined;
  for (let failures = 0; !gone.aborted;) {
    try {
      for await (const part of readOnce(await source.open(at, gone), gone)) {
        if (at !== undefined && part.offset !== at) throw outran(at, part.offset);
        at = part.offset === undefined ? undefined : part.offset + part.bytes.length;
        failures = 0;
        yield part;
      }
      return;
    } catch (error) {
      failures += 1;
      // The node has forgotten the process, and its log.
      if (at !== undefined && isForgotten(error)) return;
      if (at === undefined || !isWorthAnother(error) || failures > RESUME_ATTEMPTS_MAX) throw error;
      if (!source.isThere()) return;
    }
    const waitMs = Math.min(RESUME_MS_MAX, RESUME_FIRST_MS * 2 ** failures);
    await delay(waitMs, undefined, { signal: gone }).catch(() => undefined);
  }
}

async function* readOnce(socket: Duplex, gone: AbortSignal): AsyncGenerator<LogPart> {
  const close = (): void => void socket.destroy();
  gone.addEventListener("abort", close, { once: true });
  let offset: number | undefined;
  try {
    for await (const { type, payload } of framesOf(socket)) {
      if (type === "exit") return;
      if (type === "position") {
        ({ offset } = Position.parse(JSON.parse(payload.toString())));
        yield { offset, bytes: Buffer.alloc(0) };
      }
      if (type !== "stdout" && type !== "stderr") continue;
      yield { offset, bytes: payload };
      if (offset !== undefined) offset += payload.length;
    }
  } finally {
    gone.removeEventListener("abort", close);
  }
  // Earlier agents say no last word.
  if (offset !== undefined) throw brokenOff();
}

function isForgotten(error: unknown): boolean {
  return error instanceof ControllerError && error.code === "PROCESS_NOT_RUNNING";
}

function isWorthAnother(error: unknown): boolean {
  return error instanceof ControllerError && error.retryable && error.code !== "STOPPING";
}

/** A gap must not look like a whole log. */
function outran(at: number, offset: number | undefined): ControllerError {
  return new ControllerError(
    "STREAM_FAILED",
    `the log was trimmed before it was read: bytes ${at} to ${offset ?? "?"} are lost`,
    { hint: `read faster, or keep more: STRATA_LOG_MAX_MIB on the node; go on with ?from=${at}` },
  );
}
