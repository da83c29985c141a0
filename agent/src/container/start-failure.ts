import { CodedError, getErrorCode } from "@strata/protocol/errors";

import { type CrashHistory, planRestart } from "./crash-policy.ts";

/** What follows from a start that failed. */
export type StartFailure = {
  readonly problem: { readonly code: string; readonly message: string };
  /** Undefined: another try of the same assignment gives the same. */
  readonly retry: { readonly delayMs: number; readonly crashes: CrashHistory } | undefined;
};

/** Another try of the same assignment gives the same. */
const permanentCodes: readonly string[] = [
  "CONTAINER_CONFIG_INVALID",
  "COMMAND_MISSING",
  "USER_UNKNOWN",
  "SECRET_UNFIT",
  "LIMIT_UNSUPPORTED",
];
/** After a pull or a claim that may succeed later. */
const RETRY_MS = 10_000;

type StartFacts = {
  readonly hadRun: boolean;
  readonly crashes: CrashHistory;
  /** Nobody knows how far a run got that never was seen running: it is not run twice. */
  readonly isOnce: boolean;
};

/** Says whether a start that failed is tried again, and when. Without a run nothing has crashed: the image, an address
 * or a port was not to be had yet. Pure. */
export function judgeStartFailure(
  error: unknown,
  { hadRun, crashes, isOnce }: StartFacts,
): StartFailure {
  const code = getErrorCode(error) ?? "START_FAILED";
  const problem = { code, message: error instanceof Error ? error.message : String(error) };
  const isFinal = error instanceof CodedError && !error.retryable;
  if (permanentCodes.includes(code) || (!hadRun && isFinal)) return { problem, retry: undefined };
  if (!hadRun) return { problem, retry: { delayMs: RETRY_MS, crashes } };
  if (isOnce) return { problem, retry: undefined };
  const { delayMs, history } = planRestart(crashes, 0);
  return { problem, retry: { delayMs, crashes: history } };
}
