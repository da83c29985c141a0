import type { ServerResponse } from "node:http";

import { CodedError } from "@strata/protocol/errors";

import type { OpenBlob } from "../blob-store.ts";
import type { BufferPool } from "../buffer-pool.ts";
import type { ByteRange } from "./range.ts";

export type SendErrorCode =
  | "BLOB_UNSOUND" // Shorter than its size, or refused by `inspect`.
  | "CLIENT_GONE"; // Hung up, or took nothing for too long.

export class SendError extends CodedError<SendErrorCode> {}

/** Answers up to this length are read in one go, and need no buffer of the pool. */
const SMALL_BYTES = 64 * 1024;

export type SendOptions = {
  readonly buffers: BufferPool;
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

/** Writes the pieces after the headers were set, and ends the answer. Reads the next piece while the last one is on
 * its way; holds two buffers at most. @throws SendError */
export async function sendPieces(
  outgoing: ServerResponse,
  blob: OpenBlob,
  { pieces, buffers, silenceMsMax, inspect }: SendOptions & { readonly pieces: readonly Piece[] },
): Promise<void> {
  const writer = createWriter(outgoing, silenceMsMax);
  const small = pieces.every((piece) => pieceBytes(piece) <= SMALL_BYTES);
  const pair = small ? [] : [buffers.take(), buffers.take()];
  let sent = Promise.resolve();
  let turn = 0;
  try {
    for (const piece of pieces) {
      if (typeof piece === "string") {
        await sent;
        sent = writer.write(Buffer.from(piece));
        continue;
      }
      for (let position = piece.start; position <= piece.end;) {
        const left = piece.end - position + 1;
        const target = (pair[turn] ?? Buffer.allocUnsafe(left)).subarray(0, left);
        if ((await blob.read(target, position)) < target.length) {
          throw new SendError("BLOB_UNSOUND", "the blob is cut short");
        }
        position += target.length;
        inspect?.(target, position > piece.end);
        await sent;
        sent = writer.write(target);
        turn = 1 - turn;
      }
    }
    await sent;
    outgoing.end();
  } finally {
    writer.close();
    // A buffer that the socket may still hold must not be used again.
    pair.forEach(outgoing.writableEnded ? buffers.give : buffers.drop);
  }
}

type Writer = {
  /** Resolves when the kernel has the chunk. */
  readonly write: (chunk: Uint8Array) => Promise<void>;
  readonly close: () => void;
};

function createWriter(outgoing: ServerResponse, silenceMsMax: number): Writer {
  let fail: (error: Error) => void = () => undefined;
  const onClose = (): void =>
    fail(new SendError("CLIENT_GONE", "the client closed the connection"));
  const onSilence = (): void => {
    outgoing.destroy();
    fail(new SendError("CLIENT_GONE", "the client took nothing for too long"));
  };
  outgoing.on("close", onClose);
  outgoing.on("error", onClose);
  return {
    write: (chunk) => {
      const { promise, resolve, reject } = Promise.withResolvers<void>();
      // Met by the next await; until then it must not count as unhandled.
      promise.catch(() => undefined);
      if (outgoing.destroyed)
        reject(new SendError("CLIENT_GONE", "the client closed the connection"));
      fail = reject;
      const silence = setTimeout(onSilence, silenceMsMax);
      const settle = (): void => clearTimeout(silence);
      promise.then(settle, settle);
      outgoing.write(chunk, (error) => (error ? reject(error) : resolve()));
      return promise;
    },
    close: () => {
      outgoing.off("close", onClose);
    },
  };
}
