import type { ServerResponse } from "node:http";

import type { LocalFile, OpenBlob } from "../blob-store.ts";
import type { BufferPool } from "../buffer-pool.ts";
import type { Writer } from "./answer-writer.ts";
import { KERNEL_COPY_BYTES, type KernelCopy } from "./kernel-copy.ts";
import type { ByteRange } from "./range.ts";
import { SendError } from "./send-error.ts";

/** Sends ranges of one blob, one after the other. @throws SendError */
export type RangeSender = {
  readonly send: (range: ByteRange) => Promise<void>;
  /** Resolves when the kernel has all that was sent. */
  readonly settle: () => Promise<void>;
  /** Gives buffers back. `whole` when all was sent; else the socket may still hold one, and it is not used again. */
  readonly close: (whole: boolean) => void;
};

export type RangeSenderOptions = {
  readonly writer: Writer;
  readonly blob: OpenBlob;
  readonly buffers: BufferPool;
};

export type ReadingOptions = RangeSenderOptions & {
  /** Every range is short: each is read in one go, into memory of its own. */
  readonly small: boolean;
  readonly inspect: ((piece: Uint8Array, last: boolean) => void) | undefined;
};

/** Reads the next piece while the last one is on its way; holds two buffers at most. */
export function createReadingSender(options: ReadingOptions): RangeSender {
  const { writer, blob, buffers, small, inspect } = options;
  const pair = small ? [] : [buffers.take(), buffers.take()];
  let sent = Promise.resolve();
  let turn = 0;
  return {
    send: async ({ start, end }) => {
      for (let position = start; position <= end;) {
        const left = end - position + 1;
        const target = (pair[turn] ?? Buffer.allocUnsafe(left)).subarray(0, left);
        await readWhole(blob, target, position);
        position += target.length;
        inspect?.(target, position > end);
        await sent;
        sent = writer.write(target);
        turn = 1 - turn;
      }
    },
    settle: () => sent,
    close: (whole) => pair.forEach(whole ? buffers.give : buffers.drop),
  };
}

export type KernelOptions = RangeSenderOptions & {
  readonly outgoing: ServerResponse;
  readonly file: LocalFile;
  readonly kernelCopy: KernelCopy;
};

/** What is written in the ordinary way when the socket is full: its end says that there is room again. */
const PROBE_BYTES = 64 * 1024;

/** Lets the kernel copy as much as the socket takes, then waits until it takes more. */
export function createKernelSender(options: KernelOptions): RangeSender {
  const { outgoing, writer, blob, file, buffers, kernelCopy } = options;
  let buffer: Buffer | undefined;
  // What goes past Node's own buffers must not overtake the headers.
  outgoing.flushHeaders();
  return {
    send: async ({ start, end }) => {
      let stepBytes = PROBE_BYTES;
      for (let position = start; position <= end;) {
        const part = { descriptor: file.descriptor, position, lengthBytes: end - position + 1 };
        const taken = outgoing.socket === null ? 0 : kernelCopy(outgoing.socket, part);
        position += taken;
        if (position > end) return;
        if (taken === KERNEL_COPY_BYTES) {
          await othersTurn();
          continue;
        }
        // Twice nothing: the kernel does not copy here or now, so the steps need not be short.
        stepBytes = taken > 0 ? PROBE_BYTES : stepBytes * 2;
        buffer ??= buffers.take();
        const target = buffer.subarray(0, Math.min(stepBytes, end - position + 1));
        await readWhole(blob, target, position);
        await writer.write(target);
        position += target.length;
      }
    },
    settle: () => Promise.resolve(),
    close: (whole) => {
      if (buffer !== undefined) (whole ? buffers.give : buffers.drop)(buffer);
    },
  };
}

async function readWhole(blob: OpenBlob, target: Uint8Array, position: number): Promise<void> {
  if ((await blob.read(target, position)) === target.length) return;
  throw new SendError("BLOB_UNSOUND", "the blob is cut short");
}

function othersTurn(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}
