import { defaultLayerLimits } from "@strata/agent/layer/limits";
import type { TarEntry } from "@strata/agent/layer/tar-entry";
import { TarReader } from "@strata/agent/layer/tar-reader";

export type ReadEntry = TarEntry & {
  /** Data in pieces, each with its place in the file. Neighbouring pieces are joined. */
  readonly pieces: readonly { readonly position: number; readonly hex: string }[];
};

/** Reads an archive that arrives in chunks of these sizes, the last one for all the rest. */
export function readEntries(
  archive: Buffer,
  chunkBytes: readonly number[] = [],
): readonly ReadEntry[] {
  const entries: ReadEntry[] = [];
  let entry: TarEntry | undefined;
  let pieces: { position: number; hex: string }[] = [];
  const reader = new TarReader(
    {
      begin: (next) => {
        entry = next;
        pieces = [];
      },
      data: (chunk, position) => {
        const last = pieces.at(-1);
        if (last !== undefined && last.position + last.hex.length / 2 === position)
          last.hex += chunk.toString("hex");
        else pieces.push({ position, hex: chunk.toString("hex") });
      },
      end: () => {
        if (entry !== undefined) entries.push({ ...entry, pieces });
        entry = undefined;
      },
    },
    defaultLayerLimits,
  );
  let at = 0;
  for (const bytes of chunkBytes) {
    reader.write(Buffer.from(archive.subarray(at, at + bytes)));
    at += bytes;
  }
  if (at < archive.length) reader.write(Buffer.from(archive.subarray(at)));
  reader.end();
  return entries;
}
