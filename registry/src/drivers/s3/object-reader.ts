import type { Readable } from "node:stream";
import { setTimeout as wait } from "node:timers/promises";

import type { Bucket } from "./bucket.ts";
import { S3Error } from "./errors.ts";
import type { Segment } from "./record.ts";

/** Reads objects of the bucket at any position. Reads that follow each other share one request: its answer is taken
 * piece by piece, so nothing is held but what the socket has read. */
export type ObjectReader = {
  /** Fills the target; gives fewer bytes only at the end of the object. @throws S3Error EIO when it is gone */
  readonly read: (segment: Segment, position: number, target: Uint8Array) => Promise<number>;
  readonly close: () => void;
};

export type ObjectReaderOptions = {
  readonly bucket: Pick<Bucket, "get">;
  /** An answer that says nothing for so long is given up, and asked for again. */
  readonly silenceMsMax: number;
};

/** Tries of one read. A connection that was left alone while a slow client took its bytes is often cut off. */
const ATTEMPTS_MAX = 4;
const PAUSE_MS = 100;

export function createObjectReader(options: ObjectReaderOptions): ObjectReader {
  let answer: Answer | undefined;
  /** Where the last read ended: one that begins there is likely to be followed by more. */
  let lastEnd: { readonly key: string; readonly position: number } | undefined;
  const close = (): void => {
    answer?.close();
    answer = undefined;
  };

  const readOnce = async (
    { key, sizeBytes }: Segment,
    position: number,
    target: Uint8Array,
  ): Promise<number> => {
    if (answer?.key !== key || answer.position() !== position) {
      close();
      const goesOn = lastEnd?.key === key && lastEnd.position === position;
      const end = (goesOn ? sizeBytes : position + target.length) - 1;
      answer = await openAnswer(options, { key, start: position, end });
    }
    const count = await answer.read(target);
    lastEnd = { key, position: position + count };
    if (answer.isOver()) close();
    return count;
  };

  return {
    close,
    read: async (segment, position, target) => {
      const count = Math.min(target.length, segment.sizeBytes - position);
      if (count <= 0) return 0;
      const wanted = target.subarray(0, count);
      for (let attempt = 1; ; attempt += 1) {
        try {
          return await readOnce(segment, position, wanted);
        } catch (error) {
          close();
          if (!(error instanceof S3Error) || !error.retryable || attempt >= ATTEMPTS_MAX) {
            throw error;
          }
          await wait(PAUSE_MS * 2 ** attempt);
        }
      }
    },
  };
}

/** The body of one answer, taken from its beginning to its end. */
type Answer = {
  readonly key: string;
  /** Of the next byte. */
  readonly position: () => number;
  readonly isOver: () => boolean;
  readonly read: (target: Uint8Array) => Promise<number>;
  readonly close: () => void;
};

type Wanted = { readonly key: string; readonly start: number; readonly end: number };

async function openAnswer(
  { bucket, silenceMsMax }: ObjectReaderOptions,
  { key, start, end }: Wanted,
): Promise<Answer> {
  const body = await bucket.get(key, { start, end });
  if (body === undefined) throw new S3Error("EIO", `${key} is missing in the bucket`);
  const chunks = body === "beyond" ? undefined : createChunks(body, { key, silenceMsMax });
  let position = start;
  let rest: Uint8Array = new Uint8Array();
  let over = chunks === undefined;
  return {
    key,
    position: () => position,
    isOver: () => over || position > end,
    close: () => chunks?.close(),
    read: async (target) => {
      let filled = 0;
      while (filled < target.length) {
        if (rest.length === 0) {
          const chunk = await chunks?.next();
          if (chunk === undefined) {
            over = true;
            break;
          }
          rest = chunk;
        }
        const piece = rest.subarray(0, target.length - filled);
        target.set(piece, filled);
        rest = rest.subarray(piece.length);
        filled += piece.length;
      }
      position += filled;
      return filled;
    },
  };
}

type Chunks = {
  /** Undefined at the end. @throws S3Error STORAGE_UNAVAILABLE when the connection broke or fell silent */
  readonly next: () => Promise<Uint8Array | undefined>;
  readonly close: () => void;
};

function createChunks(
  body: Readable,
  { key, silenceMsMax }: { readonly key: string; readonly silenceMsMax: number },
): Chunks {
  const iterator = body[Symbol.asyncIterator]();
  return {
    next: async () => {
      const silence = setTimeout(() => body.destroy(new Error("silent")), silenceMsMax);
      try {
        const { done, value } = await iterator.next();
        return done === true ? undefined : parseChunk(value);
      } catch (cause) {
        throw new S3Error("STORAGE_UNAVAILABLE", `${key} broke off while it was read`, {
          cause,
          retryable: true,
        });
      } finally {
        clearTimeout(silence);
      }
    },
    close: () => {
      // What goes wrong with an answer that nobody reads is of no interest.
      body.on("error", () => undefined);
      body.destroy();
    },
  };
}

function parseChunk(value: unknown): Uint8Array {
  // A stream without an encoding gives Buffers.
  return value as Uint8Array;
}
