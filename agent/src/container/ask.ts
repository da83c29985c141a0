import { askCommand } from "./ask-command.ts";
import { askNetwork } from "./ask-network.ts";
import type { Ask } from "./health.ts";
import type { StartContext } from "./start.ts";

export type AskTarget = { readonly processId: string; readonly address: string };

/** Asks a process of this node, each probe in its own way. `turns` lets so many commands run at once: each costs the
 * node a few milliseconds, and hundreds of processes may be asked in the same second. */
export function createAsk(
  start: StartContext,
  turns: <T>(work: () => Promise<T>) => Promise<T>,
): (target: AskTarget) => Ask {
  const { cgroups } = start;
  return ({ processId, address }) =>
    async ({ name, probe }, signal) => {
      const isAsleep = (): boolean => signal.aborted || cgroups.isFrozen(processId);
      if (probe.kind !== "exec") {
        const answer = await askNetwork(address, probe);
        return !answer.isWell && isAsleep() ? undefined : answer;
      }
      return await turns(async () => {
        // A command would be frozen as well, and then not even a KILL ends it.
        if (isAsleep()) return undefined;
        const answer = await askCommand(start, { processId, name, probe }, signal);
        return !answer.isWell && isAsleep() ? undefined : answer;
      });
    };
}
