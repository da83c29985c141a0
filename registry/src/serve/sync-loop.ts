import { setTimeout } from "node:timers/promises";

import type { Registry } from "../create-registry.ts";
import type { RegistryLogger } from "../logger.ts";
import type { MirrorRule } from "../mirror/rules.ts";

export type SyncLoopOptions = {
  readonly rules: readonly MirrorRule[];
  readonly registry: Pick<Registry, "sync">;
  readonly logger: RegistryLogger;
};

/** Copies what each sync rule names, at the start and then at its interval, one rule after the other where two are due.
 * Disposing waits until what is under way has ended. */
export function startSyncLoop({ rules, registry, logger }: SyncLoopOptions): AsyncDisposable {
  const ending = new AbortController();
  const { signal } = ending;
  const turns = rules.flatMap((rule) => rule.sync.map((wanted) => ({ rule, wanted })));
  let previous: Promise<void> = Promise.resolve();
  const loops = turns.map(async ({ rule, wanted }) => {
    while (!signal.aborted) {
      previous = previous.then(async () => {
        if (signal.aborted) return;
        const { failed, ...report } = await registry.sync(rule, wanted, signal);
        if (failed.length > 0) {
          logger.warn({ ...report, failed, upstream: rule.upstream }, "not all was copied");
        }
      });
      previous = previous.catch((err: unknown) => logger.error({ err }, "copying failed"));
      await previous;
      await setTimeout(wanted.everyMs, undefined, { signal }).catch(() => undefined);
    }
  });
  return {
    [Symbol.asyncDispose]: async () => {
      ending.abort();
      await Promise.all(loops);
    },
  };
}
