/** A request came for a subscription that sleeps: level 1 decides about it at once, out of turn. */
import { decide } from "../domain/autoscale/l1/decide.ts";
import { isAutoscaled } from "../domain/scaling.ts";
import { ControllerError } from "../errors.ts";
import { recordDecisions } from "../operations/autoscale.ts";
import { wakeProcesses } from "../operations/freeze.ts";
import { listProcessesOfSubscription } from "../store/processes.ts";
import { getScalingPolicy, parseScalingPolicy } from "../store/scaling-policies.ts";
import { getSubscriptions, type SubscriptionRow } from "../store/subscriptions.ts";
import type { Store } from "../store/unit.ts";
import { readScaled, type Sources } from "./autoscale-history.ts";
import type { KnownPolicy } from "./autoscale-policies.ts";

export type WakeOptions = Sources & {
  readonly store: Store;
  readonly nowMs: () => number;
  /** There are processes to start, or to thaw. */
  readonly onChange: () => void;
};

/** Returns when it is written down that the subscription shall have a process; one that is frozen is thawed by the next
 * message to its node. Safe to repeat.
 * @throws ControllerError NOT_FOUND, NOT_WAKEABLE with level 1's reason. */
export function wakeSubscription(options: WakeOptions, id: string): void {
  const { store, nowMs, onChange } = options;
  const [row] = getSubscriptions(store.sql, [id]);
  if (row === undefined || row.deletedAt !== null)
    throw new ControllerError("NOT_FOUND", `there is no subscription with the id ${id}`, {
      hint: "the network table of the node is older than its deletion",
    });
  if (row.processes > 0) {
    const isHeldBack = ({ freeze }: { readonly freeze: unknown }): boolean => freeze !== null;
    if (!listProcessesOfSubscription(store.sql, id).some(isHeldBack)) return;
    store.write((unit) => wakeProcesses(unit, id));
    return onChange();
  }
  const known = readPolicy(store, row);
  const [scaled] = readScaled(store.sql, new Map([[id, known]]), options);
  if (scaled === undefined) return;
  const { subscription, scaler } = scaled;
  const history = { ...scaled.history, seasonal: {}, requested: true };
  const before = scaler.state;
  const decision = decide({ policy: known.policy, history, state: before, now: nowMs() });
  if (!decision.act || decision.desired === 0) throw refuse(row, decision.reason);
  store.write((unit) =>
    recordDecisions(unit, [
      {
        subscription,
        policy: known,
        history,
        before,
        decision,
        // A replay comes by here like by any other decision, and may begin here.
        withState: true,
        season: undefined,
        keep: undefined,
      },
    ]),
  );
  onChange();
}

function readPolicy({ sql }: Store, row: SubscriptionRow): KnownPolicy {
  const name = row.ratio === null ? row.scalingPolicy : null;
  const stored = name === null ? undefined : getScalingPolicy(sql, name);
  const policy = stored && parseScalingPolicy(stored);
  if (stored === undefined || policy === undefined || !isAutoscaled(policy))
    throw refuse(row, "nobody but people decides about its count");
  return { name: stored.name, revision: stored.revision, policy };
}

function refuse({ alias }: SubscriptionRow, why: string): ControllerError {
  return new ControllerError("NOT_WAKEABLE", `subscription ${alias} stays asleep: ${why}`, {
    hint: `strata scale ${alias} 1 starts a process; a scaling policy with min 0 and a metric lets requests do so`,
  });
}
