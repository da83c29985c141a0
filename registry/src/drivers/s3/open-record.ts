import type { OpenBlob } from "../../blob-store.ts";
import { createKeyedLock } from "../../keyed-lock.ts";
import { createObjectReader, type ObjectReaderOptions } from "./object-reader.ts";
import { recordBytes, type StoredRecord } from "./record.ts";

/** Opens the bytes of a record that has no multipart upload under way: those cannot be read. */
export function openRecord(
  { segments, tail, ...others }: Omit<StoredRecord, "multipart">,
  options: ObjectReaderOptions,
): OpenBlob {
  const reader = createObjectReader(options);
  const sizeBytes = recordBytes({ segments, tail, ...others, multipart: undefined });
  /** One after the other: reads that follow each other share an answer. */
  const lock = createKeyedLock();

  const readPiece = async (position: number, target: Uint8Array): Promise<number> => {
    let start = 0;
    for (const segment of segments) {
      if (position < start + segment.sizeBytes) {
        return reader.read(segment, position - start, target);
      }
      start += segment.sizeBytes;
    }
    const piece = tail.subarray(position - start, position - start + target.length);
    target.set(piece);
    return piece.length;
  };

  return {
    sizeBytes,
    read: (target, position) =>
      lock("", async () => {
        let filled = 0;
        while (filled < target.length) {
          const count = await readPiece(position + filled, target.subarray(filled));
          if (count === 0) break;
          filled += count;
        }
        return filled;
      }),
    [Symbol.asyncDispose]: async () => reader.close(),
  };
}
