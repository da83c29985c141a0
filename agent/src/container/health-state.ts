/** What the answers to its probes come to. */
import type { Probe } from "@strata/protocol/agent/probes";

import type { ProbeName, ProbePlan } from "./probe-plan.ts";

export type Answer = { readonly isWell: true } | BadAnswer;
type BadAnswer = { readonly isWell: false; readonly why: string };

export type HealthState = {
  /** Past its startup probe. */
  readonly isStarted: boolean;
  readonly isReady: boolean;
  /** Why it is not ready, or not started, as far as a probe has said. */
  readonly reason: string | undefined;
  /** It is to be ended. Nothing changes any more then. */
  readonly failing: { readonly code: FailureCode; readonly message: string } | undefined;
  /** In a row, of the readiness probe. */
  readonly successes: number;
  /** In a row. */
  readonly failures: Readonly<Record<ProbeName, number>>;
};

export type FailureCode = "STARTUP_FAILED" | "LIVENESS_FAILED";

/** Of a run that begins, or that another life of the agent saw past its startup probe, or ready. Pure. */
export function beginHealth(
  plan: ProbePlan,
  { wasStarted, wasReady }: { readonly wasStarted: boolean; readonly wasReady: boolean },
): HealthState {
  const isStarted = wasStarted || wasReady || plan.startup === undefined;
  return {
    isStarted,
    isReady: isStarted && (wasReady || plan.readiness === undefined),
    reason: undefined,
    failing: undefined,
    successes: 0,
    failures: { startup: 0, readiness: 0, liveness: 0 },
  };
}

/** Whether a probe is to be asked now. Pure. */
export function isAsked(
  plan: ProbePlan,
  { isStarted, failing }: HealthState,
  name: ProbeName,
): boolean {
  return plan[name] !== undefined && failing === undefined && isStarted === (name !== "startup");
}

export type ProbeAnswer = {
  readonly name: ProbeName;
  readonly answer: Answer;
  /** Since the run began to be watched. */
  readonly elapsedMs: number;
};

/** The next state. An answer to a probe that is not asked any more changes nothing. Pure. */
export function takeAnswer(plan: ProbePlan, state: HealthState, given: ProbeAnswer): HealthState {
  const { name, answer, elapsedMs } = given;
  const probe = plan[name];
  if (probe === undefined || !isAsked(plan, state, name)) return state;
  const failures = { ...state.failures, [name]: answer.isWell ? 0 : state.failures[name] + 1 };
  const next = { ...state, failures };
  switch (name) {
    case "startup":
      return answer.isWell ? start(next, plan) : takeStartup(next, { answer, elapsedMs }, probe);
    case "readiness":
      return takeReadiness(next, answer, probe);
    case "liveness":
      return takeLiveness(next, answer, probe);
    default:
      return name satisfies never;
  }
}

function start(state: HealthState, { readiness }: ProbePlan): HealthState {
  return { ...state, isStarted: true, isReady: readiness === undefined, reason: undefined };
}

/** It is asked more often than its interval says, so that a quick start is seen early; what it has is the time. */
function takeStartup(
  state: HealthState,
  { answer, elapsedMs }: { readonly answer: BadAnswer; readonly elapsedMs: number },
  { intervalMs, failureThreshold }: Probe,
): HealthState {
  const reason = `startup probe: ${answer.why}`;
  const deadlineMs = intervalMs * failureThreshold;
  if (elapsedMs < deadlineMs) return { ...state, reason };
  const message = `not started within ${deadlineMs / 1000} s: ${reason}`;
  return { ...state, reason, failing: { code: "STARTUP_FAILED", message } };
}

function takeReadiness(
  state: HealthState,
  answer: Answer,
  { failureThreshold, successThreshold = 1 }: Probe,
): HealthState {
  if (answer.isWell) {
    const successes = Math.min(successThreshold, state.successes + 1);
    const isReady = state.isReady || successes >= successThreshold;
    return { ...state, successes, isReady, ...(isReady && { reason: undefined }) };
  }
  const isReady = state.isReady && state.failures.readiness < failureThreshold;
  const reason = isReady ? undefined : `readiness probe: ${answer.why}`;
  return { ...state, successes: 0, isReady, reason };
}

function takeLiveness(
  state: HealthState,
  answer: Answer,
  { failureThreshold }: Probe,
): HealthState {
  const failures = state.failures.liveness;
  if (answer.isWell || failures < failureThreshold) return state;
  const times = failures === 1 ? "" : `${failures} times: `;
  const message = `liveness probe failed: ${times}${answer.why}`;
  return {
    ...state,
    isReady: false,
    reason: message,
    failing: { code: "LIVENESS_FAILED", message },
  };
}
