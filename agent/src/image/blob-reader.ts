import { close, openSync, read } from "node:fs";
import { promisify } from "node:util";

import type { Growth } from "./blob-writer.ts";

const CHUNK_BYTES = 256 * 1024;
const readAsync = promisify(read);
const closeAsync = promisify(close);

/** The bytes of a file from `offset` on, as far as `growth` has come, until it is whole.
 * Throws when the blob will never be whole. Ends early when the signal aborts. */
export async function* readGrowing(
  growth: Growth,
  offset: number,
  signal: AbortSignal,
): AsyncGenerator<Buffer, void> {
  // At once: a moment later the file may have got its name. The descriptor then stays good, also when it is deleted.
  const file = openSync(growth.path, "r");
  const left = Promise.withResolvers<void>();
  const leave = (): void => left.resolve();
  signal.addEventListener("abort", leave, { once: true });
  try {
    for (let position = offset; position < growth.size && !signal.aborted;) {
      const { written, state } = growth;
      if (state === "broken") throw new Error("the blob could not be fetched whole");
      if (position >= written) {
        await Promise.race([growth.changed(), left.promise]);
        continue;
      }
      const bytes = Math.min(CHUNK_BYTES, written - position);
      const { bytesRead, buffer } = await readAsync(
        file,
        Buffer.allocUnsafe(bytes),
        0,
        bytes,
        position,
      );
      if (bytesRead === 0) throw new Error(`${growth.path} is shorter than it was`);
      position += bytesRead;
      yield buffer.subarray(0, bytesRead);
    }
  } finally {
    signal.removeEventListener("abort", leave);
    await closeAsync(file);
  }
}
