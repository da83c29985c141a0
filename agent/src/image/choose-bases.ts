import type { Digest } from "@strata/protocol/oci/digest";
import { layerCompression } from "@strata/protocol/oci/media-type";

/** What is said of a layer's blob in a manifest. */
export type LayerBlob = {
  readonly digest: Digest;
  readonly mediaType: string;
  readonly size: number;
};

/** A layer that is this many times larger or smaller is hardly an earlier one of the same. */
const RATIO_MAX = 8;
const BASES_MAX = 4;

/** The blobs that a new one may be told as a difference of: packed in the same way, and the more alike in size the
 * sooner. Pure. */
export function chooseBases(wanted: LayerBlob, older: readonly LayerBlob[]): readonly Digest[] {
  const compression = layerCompression(wanted.mediaType);
  const unlikeness = ({ size }: LayerBlob): number =>
    Math.abs(Math.log((size + 1) / (wanted.size + 1)));
  const candidates = older
    .filter(({ mediaType }) => layerCompression(mediaType) === compression)
    .filter((layer) => unlikeness(layer) <= Math.log(RATIO_MAX))
    .toSorted((left, right) => unlikeness(left) - unlikeness(right))
    .map(({ digest }) => digest);
  return [...new Set(candidates)].slice(0, BASES_MAX);
}
