/** Rule 13: what has to be packed. */
import { ceilCount } from "../statistics.ts";
import { shareOf } from "./bins.ts";
import type { Capacity, Demand, Group, L2Situation, NodeView } from "./model.ts";

/** Stands for the headroom among subscriptions; no alias can be spelled so. */
const HEADROOM = "(headroom)";

/** Placed, unplaced and forecast of each subscription. What is on a draining node needs a new place. */
export function demandOf({
  subscriptions,
  nodes,
}: Pick<L2Situation, "subscriptions" | "nodes">): readonly Demand[] {
  const placed = new Map<string, number>();
  for (const { status, held } of nodes) {
    if (status === "draining" || status === "deleting") continue;
    for (const { subscription, count } of held) {
      placed.set(subscription, (placed.get(subscription) ?? 0) + count);
    }
  }
  return subscriptions.map(({ name, size, desired, atHorizon, ...rest }) => {
    const own = placed.get(name) ?? 0;
    const needed = Math.max(0, Math.max(desired, atHorizon) - own);
    const terms = conditionsOf(rest);
    return { subscription: name, size, ...terms, desired, atHorizon, placed: own, needed };
  });
}

/** Room to keep free beyond the demand, as if it were processes: whole nodes, or a share of the demand cut into
 * pieces of the largest process. */
export function headroomOf(
  demand: readonly Demand[],
  { policy, offers, nodes }: L2Situation,
): readonly Group[] {
  const { headroom } = policy;
  if ("nodes" in headroom) {
    const capacity = offers[0]?.capacity ?? largestOf(nodes)?.capacity;
    if (capacity === undefined || headroom.nodes === 0) return [];
    return [{ subscription: HEADROOM, size: capacity, count: headroom.nodes }];
  }
  const largest = demand
    .map(({ size }) => size)
    .reduce<Capacity | undefined>(
      (a, b) => (a === undefined || b.memoryBytes > a.memoryBytes ? b : a),
      undefined,
    );
  if (largest === undefined || headroom.percent === 0) return [];
  const pieces = demand.reduce(
    (total, { size, placed, needed }) => total + (placed + needed) * shareOf(size, largest),
    0,
  );
  const count = ceilCount((pieces * headroom.percent) / 100);
  return count === 0 ? [] : [{ subscription: HEADROOM, size: largest, count }];
}

function largestOf(nodes: readonly NodeView[]): NodeView | undefined {
  return nodes.reduce<NodeView | undefined>(
    (a, b) => (a === undefined || b.capacity.memoryBytes > a.capacity.memoryBytes ? b : a),
    undefined,
  );
}

export function neededGroups(demand: readonly Demand[]): readonly Group[] {
  return demand
    .filter(({ needed }) => needed > 0)
    .map(({ subscription, size, needed, ...rest }) => ({
      subscription,
      size,
      ...conditionsOf(rest),
      count: needed,
    }));
}

/** Only what says something: traces are kept. */
function conditionsOf({
  hostPorts = [],
  rule,
}: Pick<Group, "hostPorts" | "rule">): Pick<Group, "hostPorts" | "rule"> {
  return {
    ...(hostPorts.length === 0 ? {} : { hostPorts }),
    ...(rule === undefined ? {} : { rule }),
  };
}
