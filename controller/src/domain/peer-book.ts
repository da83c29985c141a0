/** Which node has, or fetches, which blob, and from whom the next one takes it: a tree for each blob, with the store at
 * its root. Kept in memory: agents say again what they have when the controller is another one. */
import type { Digest } from "@strata/protocol/oci/digest";

export type PeerFound =
  | { readonly kind: "node"; readonly nodeId: string; readonly port: number }
  | { readonly kind: "store" }
  | { readonly kind: "wait"; readonly waitMs: number };

export type PeerNode = { readonly nodeId: string; readonly partition: string };

export type PeerFinding = PeerNode & {
  readonly digest: Digest;
  readonly failed: readonly { readonly nodeId: string; readonly why: "unreachable" | "wrong" }[];
  readonly nowMs: number;
  /** Whether the node answers at the moment. */
  readonly isPresent: (nodeId: string) => boolean;
};

export type PeerNews = {
  readonly bootId: string;
  readonly port?: number | undefined;
  readonly complete: boolean;
  readonly have: readonly Digest[];
  readonly gone: readonly Digest[];
};

export type PeerBook = {
  readonly announce: (node: PeerNode, news: PeerNews) => void;
  /** Notes that the node fetches the blob from what is answered. */
  readonly find: (finding: PeerFinding) => PeerFound;
  /** Nodes of the partition that have the whole blob. */
  readonly holdersOf: (partition: string, digest: string) => readonly string[];
  readonly forget: (nodeId: string) => void;
};

/** Nodes that take a blob from one node at the same time. */
const CHILDREN_MAX = 2;
/** Nodes of a partition that take a blob from the store at the same time, while others wait for them. */
const STORE_CHILDREN_MAX = 1;
const WAIT_MS = 250;
/** Who has waited longer goes to the store. */
const WAITS_MS_MAX = 10_000;
/** How long a node that another could not reach is not offered to that one again. */
const AVOID_MS = 10_000;
/** Who gave wrong bytes to so many is offered to nobody any more. One alone may be the liar himself. */
const ACCUSERS_MAX = 2;
/** Some 200 bytes each. */
const HOLDINGS_MAX = 1_000_000;
const HOLDINGS_PER_NODE_MAX = 8192;

type Holding = {
  readonly nodeId: string;
  /** Whole, or who it is fetched from; undefined while that is not decided. */
  source: "whole" | "store" | { readonly nodeId: string } | undefined;
  waitingSinceMs: number | undefined;
  /** Nodes that it could not use, until when. */
  readonly avoided: Map<string, number>;
  /** Until then nobody counts on what it fetches: another node could not reach it. */
  doubtedUntilMs: number;
  /** Nodes that got wrong bytes of it, perhaps passed on in good faith. */
  readonly accusers: Set<string>;
};
type Swarm = Map<string, Holding>;
type Node = {
  readonly bootId: string;
  readonly port: number | undefined;
  readonly partition: string;
  readonly digests: Set<Digest>;
};

export function createPeerBook(): PeerBook {
  const book = new Book();
  return {
    announce: (node, news) => book.announce(node, news),
    find: (finding) => book.find(finding),
    holdersOf: (partition, digest) => book.holdersOf(partition, digest),
    forget: (nodeId) => book.forget(nodeId),
  };
}

class Book {
  readonly #nodes = new Map<string, Node>();
  /** By partition and digest. */
  readonly #swarms = new Map<string, Swarm>();
  #holdings = 0;

  announce({ nodeId, partition }: PeerNode, news: PeerNews): void {
    const { bootId, port, complete, have, gone } = news;
    const known = this.#nodes.get(nodeId);
    // Another life fetches nothing of what the one before did.
    if (known !== undefined && known.bootId !== bootId) this.forget(nodeId);
    const digests = this.#nodes.get(nodeId)?.digests ?? new Set();
    this.#nodes.set(nodeId, { bootId, port, partition, digests });
    if (complete) this.#removeWhole(nodeId);
    for (const digest of gone) this.#remove(nodeId, digest);
    for (const digest of have) {
      const holding = this.#hold(nodeId, digest);
      if (holding !== undefined) holding.source = "whole";
    }
  }

  find(finding: PeerFinding): PeerFound {
    const { nodeId, partition, digest, failed, nowMs } = finding;
    if (!this.#nodes.has(nodeId)) {
      this.#nodes.set(nodeId, { bootId: "", port: undefined, partition, digests: new Set() });
    }
    const own = this.#hold(nodeId, digest);
    if (own === undefined) return { kind: "store" };
    own.source = undefined;
    const swarm = this.#swarmOf(partition, digest);
    for (const { nodeId: peer, why } of failed) {
      own.avoided.set(peer, why === "wrong" ? Infinity : nowMs + AVOID_MS);
      const doubted = swarm.get(peer);
      if (doubted === undefined) continue;
      doubted.doubtedUntilMs = nowMs + AVOID_MS;
      if (why === "wrong") doubted.accusers.add(nodeId);
    }
    const found = this.#choose(swarm, own, finding);
    if (found.kind !== "wait") own.waitingSinceMs = undefined;
    if (found.kind === "node") own.source = { nodeId: found.nodeId };
    if (found.kind === "store") own.source = "store";
    return found;
  }

  holdersOf(partition: string, digest: string): readonly string[] {
    const swarm = this.#swarmOf(partition, digest);
    return [...swarm.values()].flatMap(({ nodeId, source }) =>
      source === "whole" ? [nodeId] : [],
    );
  }

  forget(nodeId: string): void {
    for (const digest of this.#nodes.get(nodeId)?.digests ?? []) this.#remove(nodeId, digest);
    this.#nodes.delete(nodeId);
  }

  #choose(swarm: Swarm, own: Holding, finding: PeerFinding): PeerFound {
    const { nowMs, isPresent } = finding;
    const [best] = this.#candidates(swarm, own, finding);
    if (best !== undefined) return { kind: "node", ...best };
    const fetchers = [...swarm.values()].filter(
      ({ nodeId, source, doubtedUntilMs }) =>
        source === "store" && doubtedUntilMs <= nowMs && isPresent(nodeId),
    );
    own.waitingSinceMs ??= nowMs;
    const isPatient = nowMs - own.waitingSinceMs < WAITS_MS_MAX;
    return fetchers.length >= STORE_CHILDREN_MAX && isPatient
      ? { kind: "wait", waitMs: WAIT_MS }
      : { kind: "store" };
  }

  /** Those that may serve it, the best first: nearest to the root, so that few depend on many, then who serves
   * the fewest. */
  #candidates(
    swarm: Swarm,
    own: Holding,
    { nowMs, isPresent }: PeerFinding,
  ): readonly { readonly nodeId: string; readonly port: number }[] {
    const children = countChildren(swarm);
    return [...swarm.values()]
      .flatMap((holding) => {
        const { nodeId, source } = holding;
        const port = this.#nodes.get(nodeId)?.port;
        const served = children.get(nodeId) ?? 0;
        const mayServe =
          port !== undefined &&
          source !== undefined &&
          served < CHILDREN_MAX &&
          holding.accusers.size < ACCUSERS_MAX &&
          (own.avoided.get(nodeId) ?? -Infinity) <= nowMs &&
          isPresent(nodeId);
        const depth = mayServe ? depthBelow(swarm, holding, own) : undefined;
        return depth === undefined || port === undefined ? [] : [{ nodeId, port, served, depth }];
      })
      .toSorted((left, right) => left.depth - right.depth || left.served - right.served)
      .map(({ nodeId, port }) => ({ nodeId, port }));
  }

  /** Undefined where there are too many. */
  #hold(nodeId: string, digest: Digest): Holding | undefined {
    const node = this.#nodes.get(nodeId);
    if (node === undefined) return undefined;
    const swarm = this.#swarmOf(node.partition, digest);
    const known = swarm.get(nodeId);
    if (known !== undefined) return known;
    const isFull = this.#holdings >= HOLDINGS_MAX || node.digests.size >= HOLDINGS_PER_NODE_MAX;
    if (isFull) return undefined;
    const holding: Holding = {
      nodeId,
      source: undefined,
      waitingSinceMs: undefined,
      avoided: new Map(),
      doubtedUntilMs: -Infinity,
      accusers: new Set(),
    };
    swarm.set(nodeId, holding);
    this.#swarms.set(swarmKey(node.partition, digest), swarm);
    node.digests.add(digest);
    this.#holdings += 1;
    return holding;
  }

  #swarmOf(partition: string, digest: string): Swarm {
    return this.#swarms.get(swarmKey(partition, digest)) ?? new Map();
  }

  #removeWhole(nodeId: string): void {
    const node = this.#nodes.get(nodeId);
    for (const digest of node?.digests ?? []) {
      const holding = this.#swarmOf(node?.partition ?? "", digest).get(nodeId);
      if (holding?.source === "whole") this.#remove(nodeId, digest);
    }
  }

  #remove(nodeId: string, digest: Digest): void {
    const node = this.#nodes.get(nodeId);
    if (node === undefined || !node.digests.delete(digest)) return;
    this.#holdings -= 1;
    const key = swarmKey(node.partition, digest);
    const swarm = this.#swarms.get(key);
    swarm?.delete(nodeId);
    if (swarm?.size === 0) this.#swarms.delete(key);
  }
}

function swarmKey(partition: string, digest: string): string {
  return `${partition} ${digest}`;
}

function countChildren(swarm: Swarm): ReadonlyMap<string, number> {
  const counts = new Map<string, number>();
  for (const { source } of swarm.values()) {
    if (typeof source === "object") counts.set(source.nodeId, (counts.get(source.nodeId) ?? 0) + 1);
  }
  return counts;
}

/** How many nodes its bytes have come through; undefined when they come through `own`, who would wait for itself. */
function depthBelow(swarm: Swarm, holding: Holding, own: Holding): number | undefined {
  let at: Holding | undefined = holding;
  for (let depth = 0; depth <= swarm.size; depth += 1) {
    if (at === own) return undefined;
    if (typeof at?.source !== "object") return depth;
    at = swarm.get(at.source.nodeId);
  }
  return undefined;
}
