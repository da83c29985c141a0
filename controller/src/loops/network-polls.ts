/** Long polls of agents for the network: who waits is told of a change, ingress nodes at once, all others a little later
 * and many changes together. */
import type { Difference, NetworkBook } from "../domain/network/network-book.ts";
import { createWakeups } from "./wakeups.ts";

export type Poll = {
  readonly boot: string;
  readonly revision: number;
  readonly waitMs: number;
  readonly signal: AbortSignal;
  /** Goes before what is told. */
  readonly epoch: string;
  /** Asked each time before something is told. */
  readonly mayTell: () => boolean;
};

export type NetworkPolls = {
  /** JSON of a NetworkTable with what the node does not know yet; undefined when there is nothing new in the time of the
   * wait. */
  readonly poll: (nodeId: string, poll: Poll) => Promise<string | undefined>;
  /** Something was committed. Costs nothing where nobody waits. */
  readonly committed: () => void;
  readonly close: () => void;
};

export type PollOptions = {
  readonly boot: string;
  readonly book: NetworkBook;
  readonly refresh: () => void;
  readonly monotonicMs: () => number;
};

/** From one answer to the next, to those who wait. */
const GATHER_INGRESS_MS = 20;
const GATHER_NODES_MS = 1000;
const GATHER_MS_MAX = 30_000;
/** What all answers to nodes may come to: with many nodes and much that changes, changes are gathered for longer. */
const BYTES_PER_MS = 50_000;
/** Polls held for all nodes of a kind. */
const POLLS_MAX = 20_000;

type Kind = "ingress" | "node";

export function createNetworkPolls(options: PollOptions): NetworkPolls {
  const { boot, book, refresh, monotonicMs } = options;
  const wakeups = createWakeups(POLLS_MAX);
  const texts = createTexts();
  const waiting = { ingress: 0, node: 0 };
  let isClosed = false;
  let sentBytes = 0;
  const tell = (kind: Kind): (() => void) => {
    let told = 0;
    return () => {
      if (isClosed) return;
      refresh();
      if (book.revision() === told) return;
      told = book.revision();
      sentBytes = 0;
      wakeups.wake(kind);
    };
  };
  const gather = {
    ingress: createGathering(() => GATHER_INGRESS_MS, { monotonicMs, run: tell("ingress") }),
    node: createGathering(
      () => Math.min(GATHER_MS_MAX, Math.max(GATHER_NODES_MS, sentBytes / BYTES_PER_MS)),
      { monotonicMs, run: tell("node") },
    ),
  };
  return {
    poll: async (nodeId, { boot: known, revision, waitMs, signal, epoch, mayTell }) => {
      const endsAt = monotonicMs() + waitMs;
      const since = known === boot ? revision : 0;
      for (;;) {
        refresh();
        const difference = mayTell() ? book.differenceFor(nodeId, since) : undefined;
        if (difference !== undefined) {
          const text = texts.of(difference);
          sentBytes += text.length;
          return `{"epoch":${JSON.stringify(epoch)},"boot":${JSON.stringify(boot)},${text.slice(1)}\n`;
        }
        const timeoutMs = endsAt - monotonicMs();
        if (timeoutMs <= 0 || signal.aborted) return undefined;
        const kind: Kind = book.isIngress(nodeId) ? "ingress" : "node";
        waiting[kind] += 1;
        const woken = await wakeups.wait(kind, { timeoutMs, signal });
        waiting[kind] -= 1;
        if (woken === "let-go") return undefined;
      }
    },
    committed: () => {
      if (waiting.ingress > 0) gather.ingress();
      if (waiting.node > 0) gather.node();
    },
    close: () => {
      isClosed = true;
      wakeups.close();
    },
  };
}

/** A thousand nodes that know the same are told the same: written out once. */
function createTexts(): { readonly of: (difference: Difference) => string } {
  const known = new Map<string, string>();
  let revision = -1;
  return {
    of: (difference) => {
      if (difference.revision !== revision) known.clear();
      revision = difference.revision;
      const { since, nodes, ingress } = difference;
      const parts = [nodes !== undefined, ingress === undefined ? "-" : ingress !== null];
      const key = `${since}/${parts.join("/")}`;
      const text = known.get(key) ?? JSON.stringify(difference);
      known.set(key, text);
      return text;
    },
  };
}

/** Runs at once, and again at most every so many milliseconds while it is called. */
function createGathering(
  everyMs: () => number,
  { monotonicMs, run }: { readonly monotonicMs: () => number; readonly run: () => void },
): () => void {
  let lastMs = -Infinity;
  let isWaiting = false;
  return () => {
    if (isWaiting) return;
    isWaiting = true;
    const restMs = Math.min(everyMs(), Math.max(0, lastMs + everyMs() - monotonicMs()));
    const timer = setTimeout(() => {
      isWaiting = false;
      lastMs = monotonicMs();
      run();
    }, restMs);
    timer.unref();
  };
}
