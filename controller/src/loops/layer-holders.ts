/** Which nodes have how much of an image: those that run it, and those that keep its blobs for others. */
import type { LayerHolders } from "../domain/autoscale/l2/model.ts";
import type { ImageVariant } from "../domain/image-variant.ts";
import type { PeerBook } from "../domain/peer-book.ts";
import { loadOfNode } from "./node-load.ts";
import type { Snapshot } from "./snapshot.ts";

type Holding = Parameters<typeof loadOfNode>[0] & Pick<Snapshot, "nodes">;

/** Each image is looked for once, when it is first asked for. */
export function createHoldersOf(
  snapshot: Holding,
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

function nodesByImage(snapshot: Holding): ReadonlyMap<string, ReadonlySet<string>> {
  const nodes = new Map<string, Set<string>>();
  for (const nodeId of snapshot.nodes.keys())
    for (const image of loadOfNode(snapshot, nodeId).images)
      nodes.set(image, (nodes.get(image) ?? new Set()).add(nodeId));
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
