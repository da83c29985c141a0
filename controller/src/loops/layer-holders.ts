/** Which nodes have how much of an image: those that run it, and those that keep its blobs for others. */
import { isTerminal } from "@strata/protocol/agent/process-state";

import type { LayerHolders } from "../domain/autoscale/l2/model.ts";
import type { ImageVariant } from "../domain/image-variant.ts";
import type { PeerBook } from "../domain/peer-book.ts";
import type { Snapshot } from "./snapshot.ts";

/** Each image is looked for once, when it is first asked for. */
export function createHoldersOf(
  snapshot: Pick<Snapshot, "needs" | "needOf" | "processes" | "nodes">,
  peers: Pick<PeerBook, "holdersOf">,
): (partition: string, image: string) => LayerHolders {
  const known = new Map<string, LayerHolders>();
  let running: ReadonlyMap<string, ReadonlySet<string>> | undefined;
  return (partition, image) => {
    const key = `${partition} ${image}`;
    const before = known.get(key);
    if (before !== undefined) return before;
    running ??= nodesByImage(snapshot);
    const variants = snapshot.needs.variantsOf(image);
    const bytesOn = new Map(announced(variants, (digest) => peers.holdersOf(partition, digest)));
    for (const nodeId of running.get(image) ?? [])
      bytesOn.set(nodeId, bytesFor(variants, snapshot.nodes.get(nodeId)?.architecture));
    // One by one: a call has no room for as many arguments as there may be nodes.
    const most = bytesOn.values().reduce((largest, bytes) => Math.max(largest, bytes), 0);
    const found = { bytesOn, most };
    known.set(key, found);
    return found;
  };
}

/** A process that was pulled has its layers there, whether or not their blobs were kept. */
function nodesByImage({
  processes,
  needOf,
}: Pick<Snapshot, "needOf" | "processes">): ReadonlyMap<string, ReadonlySet<string>> {
  const nodes = new Map<string, Set<string>>();
  for (const rows of processes.values()) {
    for (const row of rows) {
      const isThere = row.state !== "pending" && row.state !== "pulling" && !isTerminal(row.state);
      const image = row.nodeId === null || !isThere ? undefined : needOf(row)?.image;
      if (image === undefined || row.nodeId === null) continue;
      nodes.set(image, (nodes.get(image) ?? new Set()).add(row.nodeId));
    }
  }
  return nodes;
}

function announced(
  variants: readonly ImageVariant[],
  holdersOf: (digest: string) => readonly string[],
): ReadonlyMap<string, number> {
  const sizes = new Map(
    variants.flatMap(({ layers }) => layers.map(({ digest, size }) => [digest, size])),
  );
  const bytesOn = new Map<string, number>();
  for (const [digest, size] of sizes)
    for (const nodeId of holdersOf(digest)) bytesOn.set(nodeId, (bytesOn.get(nodeId) ?? 0) + size);
  return bytesOn;
}

function bytesFor(variants: readonly ImageVariant[], architecture: string | undefined): number {
  const layers = variants.find((variant) => variant.architecture === architecture)?.layers ?? [];
  return layers.reduce((sum, { size }) => sum + size, 0);
}
