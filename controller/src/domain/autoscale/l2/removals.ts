/** Rule 15: nodes that are not needed, only ever a few at once and never soon after an add. */
import { allocatedShare, type Bin, createBin, packingOf } from "./bins.ts";
import type { Group, L2Action, L2Situation, L2State, NodeView } from "./model.ts";
import { pack } from "./pack.ts";

/** Trial packings are costly and nothing is lost by waiting. */
export const REMOVAL_INTERVAL_MS = 10_000;
/** Non-empty nodes that are tried in one look. */
const TRIALS_MAX = 5;

export type Removals = {
  readonly actions: readonly L2Action[];
  /** Why something that could go stays; null when nothing could go. */
  readonly kept: string | null;
};

/** Since when each node is empty or little used. Kept apart from removing, so that the times run on while a
 * cooldown holds everything. */
export function trackUse(situation: L2Situation): Pick<L2State, "emptySince" | "underusedSince"> {
  const { policy, nodes, state, now } = situation;
  const emptySince: Record<string, number> = {};
  const underusedSince: Record<string, number> = {};
  for (const node of nodes) {
    if (node.status !== "ready" || node.offer === null) continue;
    if (isEmpty(node)) emptySince[node.id] = state.emptySince[node.id] ?? now;
    if (allocatedShare(node) * 100 < policy.remove.below) {
      underusedSince[node.id] = state.underusedSince[node.id] ?? now;
    }
  }
  return { emptySince, underusedSince };
}

/** @param reserved forecast and headroom that must still fit when the nodes are gone */
export function planRemovals(situation: L2Situation, reserved: readonly Group[]): Removals {
  const { policy, nodes, state, now } = situation;
  const due = dueNodes(situation);
  if (due.empty.length + due.underused.length === 0) return { actions: [], kept: null };
  if (state.lastAddAt !== null && now - state.lastAddAt < policy.remove.afterAdd) {
    return {
      actions: [],
      kept: `the last add is less than ${policy.remove.afterAdd / 1000} s ago`,
    };
  }
  const leaving = nodes.filter(
    ({ status, drainedByScaler }) => status === "draining" && drainedByScaler,
  );
  const staying = nodes.filter(
    ({ status }) => status === "ready" || status === "booting" || status === "launching",
  );
  const atOnce = Math.max(1, Math.floor((nodes.length * policy.remove.percentAtOnce) / 100));
  const budget = Math.min(atOnce - leaving.length, staying.length - policy.minNodes);
  if (budget <= 0)
    return { actions: [], kept: "as many nodes as may go at once are going, or minNodes are left" };
  const removed = removeEmpty({ situation, reserved, budget, due });
  if (removed.length > 0) return { actions: removed, kept: null };
  const nonEmpty = leaving.filter((node) => !isEmpty(node)).length;
  if (due.underused.length === 0)
    return { actions: [], kept: "headroom and forecast need the empty nodes" };
  if (nonEmpty >= policy.remove.nonEmptyAtOnce)
    return { actions: [], kept: "another node is being drained" };
  const drained = drainOne({ situation, reserved, budget, due });
  return drained === undefined
    ? { actions: [], kept: "the processes of little-used nodes have no room elsewhere" }
    : { actions: [{ kind: "drain", nodeId: drained }], kept: null };
}

/** Nodes drained by the scaler that are empty now. */
export function drainedNodes(nodes: readonly NodeView[]): readonly string[] {
  return nodes
    .filter(
      (node) =>
        node.status === "draining" && node.drainedByScaler && node.offer !== null && isEmpty(node),
    )
    .map(({ id }) => id);
}

type Due = { readonly empty: readonly NodeView[]; readonly underused: readonly NodeView[] };
type Look = {
  readonly situation: L2Situation;
  readonly reserved: readonly Group[];
  readonly budget: number;
  readonly due: Due;
};

function dueNodes({ policy, offers, nodes, state, now }: L2Situation): Due {
  const { emptyAfter, belowAfter } = policy.remove;
  const since = (times: Readonly<Record<string, number>>, id: string, after: number): boolean =>
    now - (times[id] ?? now) >= after && times[id] !== undefined;
  const priceOf = (node: NodeView): number =>
    offers.find(({ key }) => key === node.offer)?.price ?? 0;
  const empty = nodes.filter(({ id }) => since(state.emptySince, id, emptyAfter));
  const underused = nodes.filter(
    (node) => !isEmpty(node) && since(state.underusedSince, node.id, belowAfter),
  );
  return {
    // The dearest first, then the newest: old ones have shown that they work.
    empty: empty.toSorted(
      (a, b) => priceOf(b) - priceOf(a) || b.requestedAt - a.requestedAt || order(a, b),
    ),
    underused: underused.toSorted((a, b) => allocatedShare(a) - allocatedShare(b) || order(a, b)),
  };
}

/** As many empty nodes as can go with what is reserved still fitting on the others. */
function removeEmpty({ situation, reserved, budget, due }: Look): readonly L2Action[] {
  const gone = new Set<string>();
  for (const { id } of due.empty.slice(0, budget)) {
    gone.add(id);
    if (fitsWithout(situation, { gone, groups: reserved })) continue;
    gone.delete(id);
    break;
  }
  return [...gone].map((nodeId) => ({ kind: "delete", nodeId, why: "empty" }));
}

/** The least-used node whose processes fit elsewhere. */
function drainOne({ situation, reserved, due }: Look): string | undefined {
  return due.underused
    .slice(0, TRIALS_MAX)
    .find((node) =>
      fitsWithout(situation, { gone: new Set([node.id]), groups: [...reserved, ...node.held] }),
    )?.id;
}

/** A trial packing onto the nodes that are ready now: what is still booting may never come. */
function fitsWithout(
  situation: L2Situation,
  { gone, groups }: { readonly gone: ReadonlySet<string>; readonly groups: readonly Group[] },
): boolean {
  if (groups.length === 0) return true;
  const bins: readonly Bin[] = situation.nodes
    .filter(({ id, status }) => status === "ready" && !gone.has(id))
    .map((node) => createBin({ ...node, ready: true }));
  return pack(groups, bins, packingOf(situation)).left.length === 0;
}

function isEmpty({ held }: NodeView): boolean {
  return held.every(({ count }) => count === 0);
}

function order(a: NodeView, b: NodeView): number {
  return a.id < b.id ? -1 : 1;
}
