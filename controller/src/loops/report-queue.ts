/** Reports that arrive in one turn of the event loop go into one transaction: a commit is synced to the disk, and that
 * takes longer than all that a report writes. Each is answered after the commit that has it. */
import { AsyncLocalStorage } from "node:async_hooks";

import { planReportWrites, type ReportInput, type ReportWrites } from "../operations/report.ts";
import type { Store } from "../store/unit.ts";

export type ReportQueue = {
  /** Returns whether the picture of the node's processes changed, once that is written down. Rejects with what kept it
   * from being written; the others are written all the same. */
  readonly take: (input: ReportInput) => Promise<boolean>;
};

type Waiting = { readonly input: ReportInput } & PromiseWithResolvers<boolean>;
type Planned = { readonly one: Waiting; readonly writes: ReportWrites };

/** Processes that change in one transaction, unless a single report is about more: some milliseconds. */
const EFFECTS_MAX = 128;
/** Reports without news are planned as well. */
const REPORTS_MAX = 128;

/** There are never more waiting than there are requests. */
export function createReportQueue(store: Store): ReportQueue {
  let waiting: readonly Waiting[] = [];
  // What is written is of many requests, and is not to be taken for a part of one.
  const outsideOfRequests = AsyncLocalStorage.snapshot();
  const flush = (): void => {
    const batch = takeBatch(store, waiting);
    const taken = new Set<Waiting>([...batch.idle, ...batch.planned.map(({ one }) => one)]);
    waiting = waiting.filter((one) => !taken.has(one));
    if (waiting.length > 0) flushSoon();
    for (const { resolve } of batch.idle) resolve(false);
    commit(store, batch.planned);
  };
  const flushSoon = (): void => void setImmediate(() => outsideOfRequests(flush));
  return {
    take: (input) => {
      const one = { input, ...Promise.withResolvers<boolean>() };
      if (waiting.length === 0) flushSoon();
      waiting = [...waiting, one];
      return one.promise;
    },
  };
}

type Batch = { readonly idle: readonly Waiting[]; readonly planned: readonly Planned[] };

/** One of each node: what the next one of it changes depends on the first. */
function takeBatch(store: Store, waiting: readonly Waiting[]): Batch {
  const nodes = new Set<string>();
  const idle: Waiting[] = [];
  const planned: Planned[] = [];
  let effects = 0;
  for (const one of waiting) {
    if (effects >= EFFECTS_MAX || idle.length + planned.length >= REPORTS_MAX) break;
    if (nodes.has(one.input.nodeId)) continue;
    nodes.add(one.input.nodeId);
    try {
      const writes = planReportWrites(store, one.input);
      if (writes === undefined) {
        idle.push(one);
        continue;
      }
      effects += writes.size;
      planned.push({ one, writes });
    } catch (error) {
      one.reject(error);
      idle.push(one);
    }
  }
  return { idle, planned };
}

function commit(store: Store, planned: readonly Planned[]): void {
  if (planned.length === 0) return;
  try {
    store.write((unit) => {
      for (const { writes } of planned) writes.apply(unit);
    });
    for (const { one, writes } of planned) one.resolve(writes.isNews);
  } catch (error) {
    const [only] = planned;
    if (only !== undefined && planned.length === 1) only.one.reject(error);
    // One of them is at fault, and the others must not suffer for it.
    else for (const single of planned) commit(store, [single]);
  }
}
