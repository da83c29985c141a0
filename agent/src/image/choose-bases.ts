import type { Digest } from "@strata/protocol/oci/digest";

/** What a manifest says of a layer's blob. */
export type LayerBlob = { readonly digest: Digest; readonly size: number };

/** A layer that is this many times larger or smaller is hardly an earlier one of the same. */
const RATIO_MAX = 8;
const BASES_MAX = 4;

/** The blobs that a new one may be told as a difference of: the more alike in size, the sooner. Pure. */
export function chooseBases(
  wanted: Pick<LayerBlob, "size">,
  older: readonly LayerBlob[],
): readonly Digest[] {
  const unlikeness = ({ size }: LayerBlob): number =>
    Math.abs(Math.log((size + 1) / (wanted.size + 1)));
  const candidates = older
    .filter((layer) => unlikeness(layer) <= Math.log(RATIO_MAX))
    .toSorted((left, right) => unlikeness(left) - unlikeness(right))
    .map(({ digest }) => digest);
  return [...new Set(candidates)].slice(0, BASES_MAX);
}
