/** What nodes are told of the network: built of what is stored, kept up to date by what has changed, and handed to the
 * agents that wait for it. Where nobody asks nothing is built. */
import type { Ingress, NetworkReport } from "@strata/protocol/agent/network";

import { type AckBook, createAckBook } from "../domain/network/ack-book.ts";
import { createNetworkBook, type NetworkBook } from "../domain/network/network-book.ts";
import { createTrafficBook, type TrafficBook } from "../domain/network/traffic-book.ts";
import type { Sql } from "../store/database.ts";
import { createNetworkPolls, type NetworkPolls } from "./network-polls.ts";
import { createNetworkReader, type NetworkReader, type NetworkSettings } from "./network-reader.ts";

export type NetworkOptions = NetworkSettings & {
  readonly sql: Sql;
  /** One life of this controller. */
  readonly boot: string;
  readonly monotonicMs: () => number;
  readonly nowMs: () => number;
  /** Something may be stopped now that had to wait. */
  readonly onReleased: () => void;
};

/** What only ingress nodes are told, beside routes. */
export type IngressExtras = Pick<Ingress, "certificates" | "challenges">;

export type Network = NetworkPolls & {
  /** In the order in which they come. */
  readonly takeReport: (nodeId: string, report: NetworkReport) => void;
  /** For one look: whether nothing leads to a process any more and nothing is under way there, as each ingress that is
   * present says. */
  readonly askReleased: () => (processId: string) => boolean;
  /** Of the table as it is now. */
  readonly revision: () => number;
  /** Whether each ingress that is present has carried out this revision. */
  readonly isCarriedOut: (revision: number) => boolean;
  /** What goes through the ingress nodes. */
  readonly traffic: Pick<TrafficBook, "ofProcess" | "ofService" | "noteTime">;
  readonly forgetNode: (nodeId: string) => void;
};

/** An ingress that has said nothing since this controller began is waited for this long. */
const FIRST_REPORT_MS = 15_000;

export function createNetwork(options: NetworkOptions): Network {
  const { boot } = options;
  const book = createNetworkBook();
  const acks = createAckBook(boot);
  const traffic = createTrafficBook();
  const readyOf = (serviceId: string): readonly string[] =>
    (book.services().get(serviceId)?.endpoints ?? [])
      .filter(({ state }) => state === "ready")
      .map(({ processId }) => processId);
  const reader = createNetworkReader(options, book);
  let released: ReadonlySet<string> = new Set();
  const done = createDone(options, { book, acks, reader });
  return {
    ...createNetworkPolls({ ...options, book, refresh: reader.refresh }),
    ...done,
    traffic,
    takeReport: (nodeId, report) => {
      acks.take(nodeId, report);
      traffic.take(nodeId, report, { at: options.nowMs(), readyOf });
      const before = released;
      released = new Set(book.listLeaving().filter(done.askReleased()));
      if (released.difference(before).size > 0) options.onReleased();
    },
    forgetNode: (nodeId) => {
      acks.forget(nodeId);
      traffic.forget(nodeId);
    },
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
