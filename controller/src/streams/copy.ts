import { once } from "node:events";
import type { Duplex } from "node:stream";

import { encodeFrame, FRAME_PAYLOAD_BYTES_MAX } from "@strata/protocol/agent/stream";
import type { CopyResult } from "@strata/protocol/api/resources";

import { ControllerError } from "../errors.ts";
import {
  answeredWithin,
  brokenOff,
  type ByteSource,
  collectOutput,
  outputOf,
  silent,
} from "./frames.ts";

/** So long may either side be silent. */
const IDLE_MS_MAX = 60_000;
const RESULT_BYTES_MAX = 1024;

/** The archive that the node sends.
 * @throws ControllerError PROCESS_NOT_RUNNING, PATH_NOT_FOUND, PATH_UNUSABLE, STREAM_FAILED, STREAM_TIMEOUT */
export async function openArchive(socket: Duplex): Promise<ByteSource> {
  const chunks = outputOf(socket);
  const first = await answeredWithin(IDLE_MS_MAX, socket, chunks.next());
  async function* whole(): AsyncGenerator<Uint8Array> {
    if (first.done === true) return;
    yield first.value;
    yield* chunks;
  }
  return { chunks: whole(), cancel: () => void socket.destroy() };
}

/** Sends an archive to the node as it comes, and says what became of it.
 * @throws ControllerError as `openArchive`; ARCHIVE_INVALID, BODY_TIMEOUT */
export async function sendArchive(
  socket: Duplex,
  body: ReadableStream<Uint8Array> | null,
): Promise<CopyResult> {
  const reader: ReadableStreamDefaultReader<Uint8Array> | undefined = body?.getReader();
  const answer = collectOutput(socket, RESULT_BYTES_MAX);
  try {
    // The node may say no before it has all.
    await Promise.race([pump(reader, socket), answer]);
    if (socket.writable) socket.write(encodeFrame("stdinEnd"));
    return parseResult(await answeredWithin(IDLE_MS_MAX, socket, answer));
  } finally {
    socket.destroy();
    await reader?.cancel().catch(() => undefined);
  }
}

async function pump(
  reader: ReadableStreamDefaultReader<Uint8Array> | undefined,
  socket: Duplex,
): Promise<void> {
  if (reader === undefined) return;
  for (;;) {
    const { done, value } = await patiently(reader.read(), bodyIsLate);
    if (done) return;
    for (let at = 0; at < value.length; at += FRAME_PAYLOAD_BYTES_MAX) {
      const frame = Buffer.from(value.subarray(at, at + FRAME_PAYLOAD_BYTES_MAX));
      if (socket.write(encodeFrame("stdin", frame))) continue;
      await patiently(once(socket, "drain"), () => silent(IDLE_MS_MAX));
    }
  }
}

async function patiently<Value>(step: Promise<Value>, late: () => ControllerError): Promise<Value> {
  const expired = Promise.withResolvers<never>();
  const timer = setTimeout(() => expired.reject(late()), IDLE_MS_MAX);
  try {
    return await Promise.race([step, expired.promise]);
  } finally {
    clearTimeout(timer);
  }
}

function bodyIsLate(): ControllerError {
  return new ControllerError("BODY_TIMEOUT", `nothing more came for ${IDLE_MS_MAX / 1000} s`, {
    hint: "send it again; what was whole by then is there already",
  });
}

function parseResult(text: string): CopyResult {
  const match = /^(\d+) (\d+) (\d+)\n$/.exec(text);
  if (match === null) throw brokenOff(new Error("the agent's result is not understood"));
  const [entries = 0, bytes = 0, skipped = 0] = match.slice(1).map(Number);
  return { entries, bytes, skipped };
}
