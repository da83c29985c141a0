import { join } from "node:path";

import type { AgentConfig } from "../config.ts";
import { agentPaths, processPaths } from "../paths.ts";
import { ageLog, createLogClock } from "./log-age.ts";
import { trimLog } from "./logs.ts";
import { readUptimeMs } from "./metrics.ts";

/** Keeps the logs of this node within their limits. One call at a time, each. */
export type LogKeeper = {
  /** By size; quick when there is nothing to do. */
  readonly trim: (processIds: Iterable<string>) => Promise<void>;
  /** By age; a call is due every minute or so. */
  readonly age: (processIds: Iterable<string>) => Promise<void>;
};

export function createLogKeeper(config: AgentConfig): LogKeeper {
  const paths = agentPaths(config);
  const clock = createLogClock(join(paths.data, "log-clock"), readUptimeMs);
  const logOf = (processId: string): string => processPaths(paths, processId).log;
  return {
    trim: async (processIds) => {
      for (const processId of processIds) await trimLog(logOf(processId), config.logBytesMax);
    },
    age: async (processIds) => {
      const nowMs = clock.tick();
      for (const processId of processIds) {
        await ageLog(logOf(processId), { nowMs, ageMsMax: config.logAgeMsMax });
      }
    },
  };
}
