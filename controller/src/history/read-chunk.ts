import { type Chunk, decodeChunk, emptyChunk, slotsOf, type Tier } from "./chunk.ts";
import type { HistoryFile } from "./file.ts";
import { columnCount, type SeriesKind } from "./series.ts";

type ChunkPlace = {
  readonly start: number;
  readonly series: number;
  readonly kind: SeriesKind;
};

/** What does not inflate, or is no number of columns, is no chunk: it is left out rather than shown wrong. */
export function readChunk(
  file: HistoryFile,
  tier: Tier,
  { start, series, kind }: ChunkPlace,
): Chunk | undefined {
  const data = file.read({ tier: tier.id, start, series });
  if (data === undefined) return undefined;
  const numbers = columnCount(kind) * slotsOf(tier) * tier.parts;
  try {
    const chunk = decodeChunk(data, numbers);
    const ofColumn = slotsOf(tier) * tier.parts;
    if (chunk.length === 0 || chunk.length % ofColumn !== 0) return undefined;
    // Columns that are newer than the chunk are at its end.
    const whole = emptyChunk(tier, columnCount(kind));
    whole.set(chunk);
    return whole;
  } catch {
    return undefined;
  }
}
