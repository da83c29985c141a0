/** Moves a few processes to a node that joined, where the policy wants them further apart. What is to move is kept in
 * memory alone: after a restart the moves that had not begun are left out. */
import type { NodeView, PartitionPolicy } from "../domain/autoscale/l2/model.ts";
import { planRebalance } from "../domain/autoscale/l2/rebalance.ts";
import type { ProcessRow } from "../store/processes.ts";
import { nameOf, type Snapshot } from "./snapshot.ts";

export type Rebalance = {
  /** Looks at a partition. True when processes are to move that were not before. */
  readonly look: (partition: string, policy: PartitionPolicy, look: Look) => boolean;
  /** Forgets moves that are done, and those of processes that are no more. */
  readonly tidy: (snapshot: Snapshot) => void;
};

export type Look = {
  readonly snapshot: Snapshot;
  readonly nodes: readonly NodeView[];
  /** From the id that a node has in a view to its own. */
  readonly nodeIdOf: (viewId: string) => string;
};

/** @param moving processes that are to move: shared with the reconcile loop, which replaces them */
export function createRebalance(moving: Set<string>): Rebalance {
  /** By partition: the nodes that were ready at the last look. */
  const known = new Map<string, ReadonlySet<string>>();
  return {
    look: (partition, policy, look) => {
      const ready = new Set(
        look.nodes.flatMap(({ id, status }) => (status === "ready" ? [id] : [])),
      );
      const before = known.get(partition);
      known.set(partition, ready);
      // After a start nobody has joined.
      if (before === undefined) return false;
      const joined = [...ready].filter((id) => !before.has(id));
      const size = moving.size;
      for (const id of joined) {
        for (const { subscription, from } of planRebalance(look.nodes, id, policy)) {
          const process = choose(look, subscription, { from, moving });
          if (process !== undefined) moving.add(process.id);
        }
      }
      return moving.size > size;
    },
    tidy: ({ processes }) => {
      if (moving.size === 0) return;
      const wanted = new Set(
        [...processes.values()]
          .flat()
          .flatMap(({ id, desired }) => (desired === "running" ? [id] : [])),
      );
      for (const id of moving) if (!wanted.has(id)) moving.delete(id);
    },
  };
}

/** The newest of the subscription there. */
function choose(
  { snapshot, nodeIdOf }: Look,
  subscription: string,
  { from, moving }: { readonly from: string; readonly moving: ReadonlySet<string> },
): ProcessRow | undefined {
  const nodeId = nodeIdOf(from);
  return snapshot.subscriptions
    .filter((one) => nameOf(one) === subscription)
    .flatMap(({ id }) => snapshot.processes.get(id) ?? [])
    .filter((row) => row.nodeId === nodeId && row.desired === "running" && !moving.has(row.id))
    .at(-1);
}
