/** Frames on a `strata-stream` connection, between client, controller and agent alike:
 * one byte of type, four bytes of payload length (big endian), payload. The controller passes frames on unread. */
import { CodedError } from "../coded-error.ts";

export const frameTypes = {
  stdin: 0,
  stdout: 1,
  stderr: 2,
  /** JSON `{ "columns": n, "rows": n }`, towards the process. */
  resize: 3,
  /** JSON `{ "signal": "SIGINT" }`, towards the process. */
  signal: 4,
  /** JSON `{ "code": n }`: the last frame of what came to its end; 0 but for an exec. */
  exit: 5,
  /** JSON `{ "code": "…", "message": "…" }`: the last frame of a stream that failed. */
  error: 6,
  /** Empty: no more stdin. */
  stdinEnd: 7,
  /** JSON `{ "offset": n }`: where in the log the next `stdout` begins. Only where it was asked for. */
  position: 8,
} as const;
export type FrameType = keyof typeof frameTypes;

export const FRAME_PAYLOAD_BYTES_MAX = 1024 * 1024;
const HEADER_BYTES = 5;
const names = new Map<number, FrameType>(
  // oxlint-disable-next-line strata/cast-in-parse -- Object.entries forgets the type of its keys.
  Object.entries(frameTypes).map(([name, value]) => [value, name as FrameType] as const),
);

export type Frame = { readonly type: FrameType; readonly payload: Buffer };
export type StreamErrorCode = "FRAME_INVALID";
class StreamError extends CodedError<StreamErrorCode> {}

export function encodeFrame(
  type: FrameType,
  payload: Buffer | string | object = Buffer.alloc(0),
): Buffer {
  const bytes = Buffer.isBuffer(payload)
    ? payload
    : Buffer.from(typeof payload === "string" ? payload : JSON.stringify(payload));
  const header = Buffer.alloc(HEADER_BYTES);
  header.writeUInt8(frameTypes[type], 0);
  header.writeUInt32BE(bytes.length, 1);
  return Buffer.concat([header, bytes]);
}

/** Collects received bytes and gives out whole frames. Holds at most one frame and one chunk.
 * @throws StreamError FRAME_INVALID for an unknown type or a payload over FRAME_PAYLOAD_BYTES_MAX. */
export function createFrameDecoder(): (chunk: Buffer) => readonly Frame[] {
  let pending: Buffer = Buffer.alloc(0);
  return (chunk) => {
    pending = pending.length === 0 ? chunk : Buffer.concat([pending, chunk]);
    const frames: Frame[] = [];
    while (pending.length >= HEADER_BYTES) {
      const type = names.get(pending.readUInt8(0));
      const length = pending.readUInt32BE(1);
      if (type === undefined || length > FRAME_PAYLOAD_BYTES_MAX) {
        throw new StreamError(
          "FRAME_INVALID",
          `frame of type ${pending.readUInt8(0)} and ${length} bytes`,
        );
      }
      if (pending.length < HEADER_BYTES + length) break;
      frames.push({ type, payload: pending.subarray(HEADER_BYTES, HEADER_BYTES + length) });
      pending = pending.subarray(HEADER_BYTES + length);
    }
    return frames;
  };
}
