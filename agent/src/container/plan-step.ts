/** What is known of a process when its next step is chosen. */
export type StepView = {
  /** `gone`: the controller no longer assigns it to this node. */
  readonly wanted: "running" | "stopped" | "gone";
  readonly isRunning: boolean;
  /** The container that we watched has ended. */
  readonly isOver: boolean;
  /** A probe says that it is to be ended and started again. */
  readonly isFailing: boolean;
  /** What runs is not what is wanted. */
  readonly isOutdated: boolean;
  /** It is ready, and was frozen by us. */
  readonly isReady: boolean;
  readonly isFrozen: boolean;
  /** It is wanted to sleep as soon as it is ready, and no request has come since. */
  readonly isToSleep: boolean;
  /** It has other limits than are wanted, and need not be restarted for them. */
  readonly isResized: boolean;
  readonly ended: "stopped" | "failed" | undefined;
  /** However it ends, it is not started again. */
  readonly isOnce: boolean;
  /** A container was started for this assignment before. */
  readonly hasBegun: boolean;
  readonly startDeadlineMs: number;
  /** Not before this time, after a crash, a failed pull or limits that were refused. */
  readonly retryAtMs: number;
  readonly nowMs: number;
};

export type Step =
  | {
      readonly kind:
        | "start"
        | "stop"
        | "end"
        | "resize"
        | "freeze"
        | "thaw"
        | "settle"
        | "finish"
        | "forget"
        | "expire"
        | "rest";
    }
  | { readonly kind: "wait"; readonly ms: number };

/** The one next step of a process towards what is wanted: level-triggered, so it may be asked again at any time.
 *
 * start   pull, make and run a container          finish  it is stopped: give back what it held
 * stop    end the container that runs             forget  finish, and drop all that is known of it
 * end     stop it for what its probes say, and settle
 * settle  learn how it ended, plan a restart      wait, rest  nothing until then, or until something changes
 * expire  too late to start: it has failed          resize  give the container that runs its new limits
 * freeze  its subscription sleeps                  thaw    it does no longer */
export function planStep(view: StepView): Step {
  if (view.isOver) return { kind: "settle" };
  if (view.isRunning && (view.wanted !== "running" || view.isOutdated)) return { kind: "stop" };
  switch (view.wanted) {
    case "gone":
      return { kind: "forget" };
    case "stopped":
      return { kind: view.ended === "stopped" ? "rest" : "finish" };
    case "running":
      return planStart(view);
    default:
      return view.wanted satisfies never;
  }
}

function planStart({
  isRunning,
  isFailing,
  isResized,
  isReady,
  isFrozen,
  isToSleep,
  ended,
  isOnce,
  hasBegun,
  startDeadlineMs,
  retryAtMs,
  nowMs,
}: StepView): Step {
  if (isRunning && isFailing) return { kind: "end" };
  if (isRunning && isFrozen && !isToSleep) return { kind: "thaw" };
  if (isRunning && isResized) {
    return retryAtMs > nowMs ? { kind: "wait", ms: retryAtMs - nowMs } : { kind: "resize" };
  }
  if (isRunning && isReady && !isFrozen && isToSleep) return { kind: "freeze" };
  const isOver = ended === "failed" || (ended === "stopped" && isOnce);
  if (isRunning || isOver) return { kind: "rest" };
  if (!hasBegun && nowMs > startDeadlineMs) return { kind: "expire" };
  return retryAtMs > nowMs ? { kind: "wait", ms: retryAtMs - nowMs } : { kind: "start" };
}
