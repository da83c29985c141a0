/** What nodes are told of the network: built of what is stored, kept up to date by what has changed, and handed to the
 * agents that wait for it. Where nobody asks nothing is built. */
import type { Ingress, NetworkReport, NetworkTable } from "@strata/protocol/agent/network";

import { type AckBook, createAckBook } from "../domain/network/ack-book.ts";
import { createNetworkBook, type NetworkBook } from "../domain/network/network-book.ts";
import type { Sql } from "../store/database.ts";
import { createNetworkReader, type NetworkReader, type NetworkSettings } from "./network-reader.ts";
import { createWakeups } from "./wakeups.ts";

export type NetworkOptions = NetworkSettings & {
  readonly sql: Sql;
  /** One life of this controller. */
  readonly boot: string;
  readonly monotonicMs: () => number;
  /** Something may be stopped now that had to wait. */
  readonly onReleased: () => void;
};

/** What only ingress nodes are told, beside routes. */
export type IngressExtras = Pick<Ingress, "certificates" | "challenges">;

export type Wait = {
  readonly boot: string;
  readonly revision: number;
  readonly waitMs: number;
  readonly signal: AbortSignal;
  /** Asked each time before something is told. */
  readonly mayTell: () => boolean;
};

export type Network = {
  /** What the node does not know yet; undefined when there is nothing new in the time of the wait. */
  readonly poll: (nodeId: string, wait: Wait) => Promise<Omit<NetworkTable, "epoch"> | undefined>;
  /** Something was committed. */
  readonly committed: () => void;
  readonly takeReport: (nodeId: string, report: NetworkReport) => void;
  /** For one look: whether nothing leads to a process any more and nothing is under way there, as each ingress that is
   * present says. */
  readonly askReleased: () => (processId: string) => boolean;
  /** Of the table as it is now. */
  readonly revision: () => number;
  /** Whether each ingress that is present has carried out this revision. */
  readonly isCarriedOut: (revision: number) => boolean;
  readonly isIngress: (nodeId: string) => boolean;
  readonly problemsOf: (nodeId: string) => readonly string[];
  readonly forgetNode: (nodeId: string) => void;
  readonly close: () => void;
};

/** From one answer to the next, to those who wait. */
const GATHER_INGRESS_MS = 20;
const GATHER_NODES_MS = 1000;
/** Polls held for all nodes of a kind. */
const POLLS_MAX = 20_000;
/** An ingress that has said nothing since this controller began is waited for this long. */
const FIRST_REPORT_MS = 15_000;

export function createNetwork(options: NetworkOptions): Network {
  const { boot, monotonicMs } = options;
  const book = createNetworkBook();
  const acks = createAckBook(boot);
  const reader = createNetworkReader(options, book);
  const wakeups = createWakeups(POLLS_MAX);
  let released: ReadonlySet<string> = new Set();
  const gather = (key: Kind, everyMs: number): (() => void) => {
    let told = 0;
    return createGathering(everyMs, {
      monotonicMs,
      run: () => {
        reader.refresh();
        if (book.revision() === told) return;
        told = book.revision();
        wakeups.wake(key);
      },
    });
  };
  const gatherers = {
    ingress: gather("ingress", GATHER_INGRESS_MS),
    node: gather("node", GATHER_NODES_MS),
  };
  const waiting = { ingress: 0, node: 0 };
  const done = createDone(options, { book, acks, reader });
  return {
    ...done,
    isIngress: book.isIngress,
    problemsOf: acks.problemsOf,
    poll: async (nodeId, { boot: known, revision, waitMs, signal, mayTell }) => {
      const endsAt = monotonicMs() + waitMs;
      const since = known === boot ? revision : 0;
      for (;;) {
        reader.refresh();
        const difference = mayTell() ? book.differenceFor(nodeId, since) : undefined;
        if (difference !== undefined) return { boot, ...difference };
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
      if (waiting.ingress > 0) gatherers.ingress();
      if (waiting.node > 0) gatherers.node();
    },
    takeReport: (nodeId, report) => {
      acks.take(nodeId, report);
      const before = released;
      released = new Set(book.listLeaving().filter(done.askReleased()));
      if (released.difference(before).size > 0) options.onReleased();
    },
    forgetNode: acks.forget,
    close: () => wakeups.close(),
  };
}

type Parts = {
  readonly book: NetworkBook;
  readonly acks: AckBook;
  readonly reader: NetworkReader;
};

/** What all ingresses that count have done. */
function createDone(
  { monotonicMs }: NetworkOptions,
  { book, acks, reader }: Parts,
): Pick<Network, "askReleased" | "revision" | "isCarriedOut"> {
  const startedMs = monotonicMs();
  const isCounted = (nodeId: string): boolean =>
    acks.hasHeard(nodeId) || monotonicMs() - startedMs < FIRST_REPORT_MS;
  const askReleased: Network["askReleased"] = () => {
    let ingresses: readonly string[] | undefined;
    return (processId) => {
      // Looked up for the first that is asked for: most ticks ask for none.
      ingresses ??= reader.presentIngresses().filter(isCounted);
      if (ingresses.length === 0) return true;
      const since = book.leavingSince(processId);
      if (since === undefined || since === "asked") return since === undefined;
      return acks.isDone(ingresses, { processId, revision: since });
    };
  };
  return {
    askReleased,
    revision: () => {
      reader.refresh();
      return book.revision();
    },
    isCarriedOut: (revision) =>
      acks.isDone(reader.presentIngresses().filter(isCounted), { revision }),
  };
}

type Kind = "ingress" | "node";

/** Runs at once, and again at most every `everyMs` while it is called. */
function createGathering(
  everyMs: number,
  { monotonicMs, run }: { readonly monotonicMs: () => number; readonly run: () => void },
): () => void {
  let lastMs = -Infinity;
  let isWaiting = false;
  return () => {
    if (isWaiting) return;
    isWaiting = true;
    const timer = setTimeout(
      () => {
        isWaiting = false;
        lastMs = monotonicMs();
        run();
      },
      Math.min(everyMs, Math.max(0, lastMs + everyMs - monotonicMs())),
    );
    timer.unref();
  };
}
