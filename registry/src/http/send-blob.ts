import type { ServerResponse } from "node:http";

import type { OpenBlob } from "../blob-store.ts";
import type { BufferPool } from "../buffer-pool.ts";
import { createWriter } from "./answer-writer.ts";
import { isPlain, type KernelCopy } from "./kernel-copy.ts";
import { createKernelSender, createReadingSender } from "./range-sender.ts";
import type { ByteRange } from "./range.ts";

/** Answers up to this length need no buffer of the pool. */
const SMALL_BYTES = 64 * 1024;

export type SendOptions = {
  readonly buffers: BufferPool;
  /** Sends what nobody needs to see, where there is one. */
  readonly kernelCopy: KernelCopy | undefined;
  /** The client is cut off when it takes nothing for so long. */
  readonly silenceMsMax: number;
  /** Sees every piece before it is sent, and whether it is the last; when it throws, that piece is not sent. */
  readonly inspect?: (piece: Uint8Array, last: boolean) => void;
};

/** A piece of an answer: bytes of the blob, or text between them. */
export type Piece = ByteRange | string;

export function pieceBytes(piece: Piece): number {
  return typeof piece === "string" ? Buffer.byteLength(piece) : piece.end - piece.start + 1;
}

/** Writes the pieces after the headers were set, and ends the answer. @throws SendError */
export async function sendPieces(
  outgoing: ServerResponse,
  blob: OpenBlob,
  { pieces, inspect, ...options }: SendOptions & { readonly pieces: readonly Piece[] },
): Promise<void> {
  const writer = createWriter(outgoing, options.silenceMsMax);
  const common = { writer, blob, buffers: options.buffers };
  const { kernelCopy } = options;
  const small = pieces.every((piece) => pieceBytes(piece) <= SMALL_BYTES);
  const byKernel = inspect === undefined && isPlain(outgoing.socket);
  const sender =
    byKernel && blob.file !== undefined && kernelCopy !== undefined
      ? createKernelSender({ ...common, outgoing, file: blob.file, kernelCopy })
      : createReadingSender({ ...common, small, inspect });
  try {
    for (const piece of pieces) {
      if (typeof piece !== "string") await sender.send(piece);
      else {
        await sender.settle();
        await writer.write(Buffer.from(piece));
      }
    }
    await sender.settle();
    outgoing.end();
  } finally {
    writer.close();
    sender.close(outgoing.writableEnded);
  }
}
