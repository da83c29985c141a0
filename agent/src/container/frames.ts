import type { Duplex, Writable } from "node:stream";

import {
  createFrameDecoder,
  encodeFrame,
  type Frame,
  FRAME_PAYLOAD_BYTES_MAX,
} from "@strata/protocol/agent/stream";

/** Gives each frame of the connection to `onFrame`. What is no frame, or makes `onFrame` throw, ends the connection. */
export function takeFrames(connection: Duplex, onFrame: (frame: Frame) => void): void {
  const decode = createFrameDecoder();
  connection.on("data", (chunk: Buffer) => {
    try {
      for (const frame of decode(chunk)) onFrame(frame);
    } catch {
      connection.destroy();
    }
  });
}

/** A step of a pipeline: bytes become frames. */
export function toFrames(type: "stdout" | "stderr") {
  return async function* frames(chunks: AsyncIterable<Buffer>): AsyncGenerator<Buffer> {
    for await (const chunk of chunks) {
      for (let offset = 0; offset < chunk.length; offset += FRAME_PAYLOAD_BYTES_MAX) {
        yield encodeFrame(type, chunk.subarray(offset, offset + FRAME_PAYLOAD_BYTES_MAX));
      }
    }
  };
}

/** Writes, and holds the connection up while there is no room. */
export function writeHeld(target: Writable, bytes: Buffer, connection: Duplex): void {
  if (target.write(bytes) || connection.isPaused()) return;
  connection.pause();
  target.once("drain", () => connection.resume());
}
