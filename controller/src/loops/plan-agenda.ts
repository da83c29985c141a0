/** Which subscriptions have to be planned in a tick: those of which something has changed, and those that wait for a time
 * to pass. All others are as they were when their plan was empty. */
import { isTerminal } from "@strata/protocol/agent/process-state";

import { createAgenda } from "../domain/agenda.ts";
import type { Sql } from "../store/database.ts";
import type { NodeRow } from "../store/nodes.ts";
import type { ProcessRow } from "../store/processes.ts";
import type { SubscriptionRow } from "../store/subscriptions.ts";
import type { OpenRollout } from "./rollouts.ts";
import type { Snapshot } from "./snapshot.ts";

export type PlanAgenda = {
  /** Of one tick. */
  readonly open: (snapshot: Snapshot, rollouts: ReadonlyMap<string, OpenRollout>) => PlanDay;
};

export type PlanDay = {
  readonly isDue: (subscription: SubscriptionRow) => boolean;
  /** Its plan was empty. */
  readonly settle: (subscription: SubscriptionRow) => void;
};

/** Everything is planned this often, whatever has changed. */
const SAFETY_MS = 3000;
/** The deadlines of roll-outs are seconds. */
const ROLLOUT_MS = 250;

export function createPlanAgenda(sql: Sql): PlanAgenda {
  const agenda = createAgenda();
  const worldOf = createWorldVersion();
  return {
    open: (snapshot, rollouts) => {
      const { nowMs, processes } = snapshot;
      const kept = sql.kept?.read();
      const world = [
        worldOf(snapshot.nodes),
        kept?.changesOf("scaling_policies"),
        kept?.changesOf("volumes"),
        snapshot.held,
        [...snapshot.moving].join(),
      ].join(" ");
      agenda.keepOnly(new Set(snapshot.subscriptions.map(({ id }) => id)));
      const factsOf = (subscription: SubscriptionRow): readonly unknown[] => {
        const rollout = rollouts.get(subscription.id);
        const about = rollout === undefined ? "" : JSON.stringify(rollout);
        return [subscription, processes.get(subscription.id), about, world];
      };
      return {
        isDue: (subscription) =>
          agenda.isDue(subscription.id, { facts: factsOf(subscription), nowMs }),
        settle: (subscription) => {
          const rows = processes.get(subscription.id) ?? [];
          // Of these, time decides: silence, drains, tries again. They are looked at in each tick.
          if (subscription.deletedAt !== null || rows.some(isRestless(snapshot, subscription)))
            return;
          const restMs = rollouts.has(subscription.id) ? ROLLOUT_MS : SAFETY_MS;
          const facts = factsOf(subscription);
          agenda.settle(subscription.id, { facts, fromMs: nowMs, untilMs: nowMs + restMs });
        },
      };
    },
  };
}

function isRestless(
  { nodes, moving }: Snapshot,
  { generation }: SubscriptionRow,
): (row: ProcessRow) => boolean {
  return (row) => {
    if (row.desired !== "running" || row.drainDeadline !== null || isTerminal(row.state))
      return true;
    // It waits for the word of every ingress.
    if (row.freeze === "announced") return true;
    if (row.generation !== generation || moving.has(row.id)) return true;
    const node = row.nodeId === null ? undefined : nodes.get(row.nodeId);
    return node !== undefined && (node.presence === "away" || node.admission === "draining");
  };
}

/** A number that changes when nodes come, go or change in what plans look at. */
function createWorldVersion(): (nodes: ReadonlyMap<string, NodeRow>) => number {
  let before: ReadonlyMap<string, NodeRow> = new Map();
  let version = 0;
  return (nodes) => {
    let isSame = nodes.size === before.size;
    for (const [id, node] of nodes) {
      if (!isSame) break;
      const known = before.get(id);
      isSame = known !== undefined && (known === node || isAlike(known, node));
    }
    before = nodes;
    if (!isSame) version += 1;
    return version;
  };
}

function isAlike(left: NodeRow, right: NodeRow): boolean {
  return (
    left.presence === right.presence &&
    left.admission === right.admission &&
    left.drainDeadline === right.drainDeadline &&
    left.partition === right.partition &&
    left.capacity.cpuMillis === right.capacity.cpuMillis &&
    left.capacity.memoryBytes === right.capacity.memoryBytes &&
    left.capacity.pids === right.capacity.pids
  );
}
