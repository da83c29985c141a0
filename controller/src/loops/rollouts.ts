/** Roll-outs that are under way: where each stops for now, and what becomes of it. */
import type { Wish } from "../domain/planned-process.ts";
import { canariesOf, holdOf, roomOf, usualRollout } from "../domain/rollout-policy.ts";
import {
  judgeRollout,
  readCourse,
  type RolloutRecord,
  type Witness,
  type Witnesses,
} from "../domain/rollout.ts";
import { settleRollout } from "../operations/rollouts.ts";
import { keepReading } from "../store/kept-tables.ts";
import { baseOf, listOpenRollouts, type RolloutRow } from "../store/rollouts.ts";
import { listSubscriptions, type SubscriptionRow } from "../store/subscriptions.ts";
import type { Unit } from "../store/unit.ts";
import { countOnNodes } from "./node-load.ts";
import type { Snapshot } from "./snapshot.ts";
import { isExclusive } from "./volumes.ts";

export type OpenRollout = {
  readonly row: RolloutRow;
  /** What held processes are replaced by; null where nothing ran before. */
  readonly base: number | null;
};

/** By subscription, without those that are being deleted. */
export const readOpenRollouts = keepReading(
  ["rollouts", "subscriptions"],
  (sql): ReadonlyMap<string, OpenRollout> => {
    const open = listOpenRollouts(sql);
    if (open.size === 0) return new Map();
    return new Map(
      listSubscriptions(sql).flatMap(
        ({ id, generation, deletedAt }): readonly [string, OpenRollout][] => {
          const row = open.get(id);
          if (row === undefined || row.generation !== generation || deletedAt !== null) return [];
          // What holds nothing need not be told apart from what it holds, and before the first there was nothing.
          const mayHold = row.fromGeneration !== null && (row.held !== null || !row.isPromoted);
          return [[id, { row, base: mayHold ? baseOf(sql, row) : null }]];
        },
      ),
    );
  },
);

/** What the subscription's processes are measured against. */
export function wishOf(
  snapshot: Snapshot,
  subscription: SubscriptionRow,
  {
    open,
    resizable,
  }: { readonly open: OpenRollout | undefined; readonly resizable: ReadonlySet<string> },
): Wish {
  const count = snapshot.count(subscription);
  const policy = subscription.rollout ?? usualRollout;
  return {
    count,
    isAsleep: snapshot.isAsleep(subscription),
    generation: subscription.generation,
    ...roomOf(policy, count),
    // The old one has to end before the next may write to its volume.
    ...(isExclusive(snapshot.volumes, snapshot.processes.get(subscription.id) ?? [])
      ? { surge: 0, unavailable: Math.max(1, count) }
      : {}),
    hold: open === undefined ? null : holdOf({ ...open.row, base: open.base }, policy, count),
    held: snapshot.held,
    drains: snapshot.drainTerms(subscription).maxMs > 0,
    // Few are asked for it.
    get processesOnNode() {
      return countOnNodes(snapshot);
    },
    resizable,
  };
}

export type Verdict = {
  readonly subscription: SubscriptionRow;
  readonly row: RolloutRow;
  readonly next: RolloutRecord;
};

/** What is to be written down of an open roll-out; undefined when it goes on as it does. */
export function judge(
  snapshot: Snapshot,
  subscription: SubscriptionRow,
  {
    open: { row },
    wish,
    planned,
  }: {
    readonly open: OpenRollout;
    readonly wish: Wish;
    /** All its processes. */
    readonly planned: readonly Witness[];
  },
): Verdict | undefined {
  const policy = subscription.rollout ?? usualRollout;
  const record = { ...row, progressAtMs: Date.parse(row.progressAt) };
  const next = judgeRollout(
    record,
    readCourse(wish, witnessesOf(subscription.generation, planned)),
    {
      policy,
      hasCanaries: wish.hold !== null && canariesOf(policy, wish.count) > 0 && !row.isPromoted,
      nowMs: snapshot.nowMs,
      isHeld: snapshot.held,
    },
  );
  const isNews =
    next.state !== row.state ||
    next.isPromoted !== row.isPromoted ||
    next.progressAtMs !== record.progressAtMs;
  return isNews ? { subscription, row, next } : undefined;
}

function witnessesOf(generation: number, planned: readonly Witness[]): Witnesses {
  return {
    newest: planned.filter((one) => one.generation === generation),
    older: planned.filter((one) => one.generation !== generation),
  };
}

/** Whether other processes may be wished for after it than before. */
export function isTurn({ row, next }: Verdict): boolean {
  return next.state !== row.state || next.isPromoted !== row.isPromoted;
}

export function applyVerdict(unit: Unit, { subscription, row, next }: Verdict): void {
  settleRollout(unit, { subscription, rollout: row, next });
}
