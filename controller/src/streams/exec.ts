import type { Duplex } from "node:stream";

import { createFrameDecoder, encodeFrame, type Frame } from "@strata/protocol/agent/stream";
import { z } from "zod";

import { ControllerError } from "../errors.ts";
import { brokenOff, streamFailure } from "./frames.ts";

export type ExecOutcome = {
  exitCode: number;
  stdout: string;
  stderr: string;
  truncated: boolean;
};

const OUTPUT_BYTES_MAX = 1024 * 1024;
const STDIN_FRAME_BYTES = 64 * 1024;
const ExitPayload = z.object({ code: z.int() });

/** Runs one command over the agent's connection and collects what it writes. Closing the connection, as after
 * `timeoutMs`, ends the command on the node.
 * @throws ControllerError EXEC_TIMEOUT, STREAM_FAILED */
export async function runExec(
  socket: Duplex,
  { stdin, timeoutMs }: { readonly stdin: string; readonly timeoutMs: number },
): Promise<ExecOutcome> {
  const outcome = Promise.withResolvers<ExecOutcome>();
  const output = { stdout: createCollector(), stderr: createCollector() };
  const timer = setTimeout(() => {
    outcome.reject(
      new ControllerError("EXEC_TIMEOUT", `the command was still running after ${timeoutMs} ms`, {
        hint: "ask for a longer timeout, or run it with strata exec",
      }),
    );
  }, timeoutMs);
  try {
    readFrames(socket, {
      onFrame: (frame) => {
        if (frame.type === "stdout" || frame.type === "stderr")
          output[frame.type].add(frame.payload);
        if (frame.type === "error") outcome.reject(streamFailure(frame));
        if (frame.type !== "exit") return;
        outcome.resolve({
          exitCode: ExitPayload.parse(JSON.parse(frame.payload.toString())).code,
          stdout: output.stdout.text(),
          stderr: output.stderr.text(),
          truncated: output.stdout.isFull() || output.stderr.isFull(),
        });
      },
      onEnd: (cause) => outcome.reject(brokenOff(cause)),
    });
    const bytes = Buffer.from(stdin);
    for (let at = 0; at < bytes.length; at += STDIN_FRAME_BYTES)
      socket.write(encodeFrame("stdin", bytes.subarray(at, at + STDIN_FRAME_BYTES)));
    socket.write(encodeFrame("stdinEnd"));
    return await outcome.promise;
  } finally {
    clearTimeout(timer);
    socket.destroy();
  }
}

type FrameReader = {
  readonly onFrame: (frame: Frame) => void;
  /** The connection ended, with or without a reason. May be called after the last frame. */
  readonly onEnd: (cause?: unknown) => void;
};

/** Gives each frame of the connection to `onFrame`; what throws there ends the reading. */
function readFrames(socket: Duplex, { onFrame, onEnd }: FrameReader): void {
  const decode = createFrameDecoder();
  socket.on("data", (chunk: Buffer) => {
    try {
      for (const frame of decode(chunk)) onFrame(frame);
    } catch (error) {
      socket.destroy();
      onEnd(error);
    }
  });
  // The sockets of an HTTP server stay half open when the other side ends.
  socket.on("end", () => {
    socket.end();
    onEnd();
  });
  socket.on("error", onEnd);
  socket.on("close", () => onEnd());
}

type Collector = {
  readonly add: (bytes: Buffer) => void;
  readonly text: () => string;
  readonly isFull: () => boolean;
};

function createCollector(): Collector {
  const chunks: Buffer[] = [];
  let size = 0;
  let dropped = false;
  return {
    add: (bytes) => {
      const kept = bytes.subarray(0, OUTPUT_BYTES_MAX - size);
      dropped ||= kept.length < bytes.length;
      size += kept.length;
      if (kept.length > 0) chunks.push(kept);
    },
    text: () => Buffer.concat(chunks).toString("utf8"),
    isFull: () => dropped,
  };
}
