/** Long computations beside the controller's own thread, so that no request waits for them. */
import { Worker } from "node:worker_threads";

import type { Trial, TrialResult } from "../domain/simulate/trial.ts";
import { ControllerError } from "../errors.ts";

export type RunTrial = (trial: Trial, signal: AbortSignal) => Promise<TrialResult>;

const TRIALS_MAX = 2;
const TRIAL_MS_MAX = 60_000;
const MEMORY_MIB_MAX = 1024;

/** At most two at a time, each for a minute at most.
 * The function throws ControllerError TOO_MANY, SIMULATION_TIMEOUT. */
export function createRunTrial(): RunTrial {
  let running = 0;
  return async (trial, signal) => {
    if (running >= TRIALS_MAX) {
      throw new ControllerError("TOO_MANY", `${TRIALS_MAX} simulations run already`, {
        hint: "try again when they are over",
      });
    }
    running += 1;
    const limit = AbortSignal.any([signal, AbortSignal.timeout(TRIAL_MS_MAX)]);
    const worker = new Worker(new URL("./trial-worker.ts", import.meta.url), {
      workerData: trial,
      resourceLimits: { maxOldGenerationSizeMb: MEMORY_MIB_MAX },
    });
    const { promise, resolve, reject } = Promise.withResolvers<TrialResult>();
    const giveUp = (): void =>
      reject(
        new ControllerError("SIMULATION_TIMEOUT", `not done in ${TRIAL_MS_MAX / 1000} s`, {
          hint: "give fewer samples, or a longer sampleInterval; strata simulate has no limit",
        }),
      );
    worker.once("message", resolve);
    worker.once("error", reject);
    limit.addEventListener("abort", giveUp, { once: true });
    try {
      return await promise;
    } finally {
      limit.removeEventListener("abort", giveUp);
      await worker.terminate();
      running -= 1;
    }
  };
}
