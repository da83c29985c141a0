/** Rule 16: when so much is wrong that doing nothing is safest. */
import type { NodeView, PartitionPolicy } from "./model.ts";

type Breakers = PartitionPolicy["breakers"];

/** More than a share and more than a number of nodes away: more likely our fault than theirs. */
export function isFrozen(nodes: readonly NodeView[], breakers: Breakers): boolean {
  const { away, joined } = presence(nodes);
  return away > breakers.freezeNodes && away * 100 > joined * breakers.freezePercent;
}

/** Nodes that have been lost for long enough to be deleted for good; none while too many are unhealthy. */
export function lostNodes(
  nodes: readonly NodeView[],
  breakers: Breakers,
  now: number,
): readonly string[] {
  const { away, joined } = presence(nodes);
  if (away * 100 > joined * breakers.replacePercent) return [];
  return nodes
    .filter(
      ({ status, offer, awaySince }) =>
        status === "away" &&
        offer !== null &&
        awaySince !== null &&
        now - awaySince >= breakers.replaceAfter,
    )
    .map(({ id }) => id);
}

function presence(nodes: readonly NodeView[]): { readonly away: number; readonly joined: number } {
  let away = 0;
  let joined = 0;
  for (const { status } of nodes) {
    if (status === "launching" || status === "booting" || status === "deleting") continue;
    joined += 1;
    if (status === "away") away += 1;
  }
  return { away, joined };
}
