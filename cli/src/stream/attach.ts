/** One command in a process, connected to the terminal or the pipes of this program. */
import { once } from "node:events";
import type { Duplex } from "node:stream";

import { createFrameDecoder, encodeFrame, type Frame } from "@strata/protocol/agent/stream";

import { chunksOf } from "../chunks.ts";
import type { Context } from "../context.ts";
import { CliError } from "../errors.ts";
import { takeTerminal } from "./terminal.ts";

export type AttachOptions = {
  /** The command has a terminal: ours is put into raw mode, and its size is passed on. */
  readonly isTerminal: boolean;
  /** Standard input is sent. */
  readonly isInteractive: boolean;
};

const STDIN_CHUNK_BYTES_MAX = 64 * 1024;

/** Returns the exit code of the command.
 * @throws CliError UNREACHABLE when the connection breaks before, REFUSED with the node's own words */
export async function attach(
  socket: Duplex,
  context: Context,
  options: AttachOptions,
): Promise<number> {
  using cleanup = new DisposableStack();
  cleanup.defer(() => socket.destroy());
  const send = (...frame: Parameters<typeof encodeFrame>): boolean =>
    socket.write(encodeFrame(...frame));
  if (options.isTerminal) {
    cleanup.use(takeTerminal(context, (size) => send("resize", size)));
  }
  // With a terminal an interrupt is a byte like any other; without, it is a signal for the command.
  const forward = (): void => void send("signal", { signal: String(context.signal.reason) });
  context.signal.addEventListener("abort", forward, { once: true });
  cleanup.defer(() => context.signal.removeEventListener("abort", forward));
  if (options.isInteractive || options.isTerminal) cleanup.use(sendInput(context, socket, send));
  else send("stdinEnd");
  return await receive(socket, context);
}

async function receive(socket: Duplex, context: Context): Promise<number> {
  const decode = createFrameDecoder();
  try {
    for await (const chunk of chunksOf(socket)) {
      for (const frame of decode(chunk)) {
        const code = await take(frame, context);
        if (code !== undefined) return code;
      }
    }
  } catch (cause) {
    if (cause instanceof CliError) throw cause;
    throw new CliError("UNREACHABLE", "the connection broke before the command ended", { cause });
  }
  throw new CliError("UNREACHABLE", "the connection ended before the command did", {
    hint: "the command may still run: look at the process and try again",
  });
}

/** Passes output on, and gives back the exit code once that comes. */
async function take(
  { type, payload }: Frame,
  { stdout, stderr }: Context,
): Promise<number | undefined> {
  switch (type) {
    case "stdout":
    case "stderr": {
      const output = type === "stdout" ? stdout : stderr;
      if (!output.write(payload)) await once(output, "drain");
      return undefined;
    }
    case "exit":
      return parseExit(payload);
    case "error":
      throw parseFailure(payload);
    default:
      // What only goes towards the process.
      return undefined;
  }
}

type Send = (...frame: Parameters<typeof encodeFrame>) => boolean;

function sendInput({ stdin }: Context, socket: Duplex, send: Send): Disposable {
  function onData(chunk: Buffer): void {
    let isFull = false;
    for (let start = 0; start < chunk.length; start += STDIN_CHUNK_BYTES_MAX) {
      isFull = !send("stdin", chunk.subarray(start, start + STDIN_CHUNK_BYTES_MAX));
    }
    if (!isFull) return;
    stdin.pause();
    socket.once("drain", () => stdin.resume());
  }
  const onEnd = (): void => void send("stdinEnd");
  stdin.on("data", onData);
  stdin.on("end", onEnd);
  return {
    [Symbol.dispose]: () => {
      stdin.off("data", onData);
      stdin.off("end", onEnd);
      // Otherwise the program would wait for the end of an input that nobody needs any more.
      stdin.destroy();
    },
  };
}

function parseExit(payload: Buffer): number {
  const value: unknown = JSON.parse(payload.toString());
  if (
    typeof value === "object" &&
    value !== null &&
    "code" in value &&
    Number.isInteger(value.code)
  ) {
    return Number(value.code);
  }
  throw new CliError("REFUSED", "the node did not say how the command ended");
}

function parseFailure(payload: Buffer): CliError {
  const value: unknown = JSON.parse(payload.toString());
  const { code, message } =
    typeof value === "object" && value !== null
      ? (value as { readonly code?: unknown; readonly message?: unknown })
      : {};
  return new CliError("REFUSED", `${String(message)} (${String(code)})`);
}
