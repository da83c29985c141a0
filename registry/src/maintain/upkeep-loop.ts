import { setTimeout } from "node:timers/promises";

import type { RegistryLogger } from "../logger.ts";
import { type Job, jobStatus, type JobOptions, runJob } from "./job.ts";

export type UpkeepLoopOptions = Pick<JobOptions, "registry" | "settings"> & {
  readonly logger: RegistryLogger;
};

/** Collects garbage and re-hashes blobs, each at its interval; the first time one interval after the start, so that a
 * store that starts again and again collects nothing. Disposing waits until what is under way has ended. */
export function startUpkeep({ registry, settings, logger }: UpkeepLoopOptions): AsyncDisposable {
  const ending = new AbortController();
  const { signal } = ending;
  const onProgress = (): void => undefined;
  const repeat = async (job: Job, everyMs: number): Promise<void> => {
    for (;;) {
      await setTimeout(everyMs, undefined, { signal }).catch(() => undefined);
      if (signal.aborted) return;
      try {
        const done = await runJob(job, { registry, settings, signal, onProgress });
        if (jobStatus(done) !== 0)
          logger.warn({ report: done.report }, "blobs are lost or corrupt");
      } catch (err) {
        logger.error({ err, job: job.kind }, "upkeep failed");
      }
    }
  };
  const loops = [
    repeat({ kind: "gc", dryRun: false }, settings.collectEveryMs),
    repeat({ kind: "scrub", dryRun: false }, settings.scrubEveryMs),
  ];
  return {
    [Symbol.asyncDispose]: async () => {
      ending.abort();
      await Promise.all(loops);
    },
  };
}
