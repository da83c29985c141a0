import type { Digest } from "@strata/protocol/oci/digest";

export type OlderLayer = {
  /** Of its blob, as `size` is. */
  readonly digest: Digest;
  readonly diffId: Digest;
  readonly size: number;
};

/** A layer that is this many times larger or smaller is hardly an earlier one of the same. */
const RATIO_MAX = 8;
const BASES_MAX = 4;

/** The layers that a new one may be told as a difference of: the more alike in size, the sooner. Pure. */
export function chooseBases(
  wanted: Pick<OlderLayer, "size">,
  older: readonly OlderLayer[],
): readonly OlderLayer[] {
  const unlikeness = ({ size }: OlderLayer): number =>
    Math.abs(Math.log((size + 1) / (wanted.size + 1)));
  const candidates = older
    .filter((layer) => unlikeness(layer) <= Math.log(RATIO_MAX))
    .toSorted((left, right) => unlikeness(left) - unlikeness(right));
  const byDigest = new Map(candidates.map((layer) => [layer.digest, layer]));
  return [...byDigest.values()].slice(0, BASES_MAX);
}
