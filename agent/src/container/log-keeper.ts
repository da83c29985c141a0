import { join } from "node:path";

import type { Clock } from "../clock.ts";
import type { AgentConfig } from "../config.ts";
import { agentPaths, processPaths } from "../paths.ts";
import { ageLog, createLogClock } from "./log-age.ts";
import { noteLogTime } from "./log-times.ts";
import { trimLog } from "./logs.ts";
import { readUptimeMs } from "./metrics.ts";

/** Keeps the logs of this node within their limits. One call at a time, each. */
export type LogKeeper = {
  /** By size, of those that grow at every call, of quiet ones at every fourth: a node with hundreds of quiet processes
   * has nothing to do. Notes when they were how long. */
  readonly trim: (processIds: Iterable<string>) => Promise<void>;
  /** By age; a call is due every minute or so. */
  readonly age: (processIds: Iterable<string>) => Promise<void>;
};

/** One in so many looks at a quiet log. */
const QUIET_SHARE = 4;

type Seen = {
  readonly path: string;
  readonly size: number;
  readonly isGrowing: boolean;
  /** When it was looked at, and when its length was noted. */
  readonly atMs: number;
  readonly notedAtMs: number | undefined;
};

export function createLogKeeper(config: AgentConfig, nowMs: Clock): LogKeeper {
  const paths = agentPaths(config);
  const clock = createLogClock(join(paths.data, "log-clock"), readUptimeMs);
  const logOf = (processId: string): string => processPaths(paths, processId).log;
  let seen: ReadonlyMap<string, Seen> = new Map();
  let calls = 0;
  return {
    trim: async (processIds) => {
      const next = new Map<string, Seen>();
      calls += 1;
      for (const processId of processIds) {
        const last = seen.get(processId);
        // The quiet ones take turns.
        const isDue = last?.isGrowing !== false || (calls + next.size) % QUIET_SHARE === 0;
        if (last !== undefined && !isDue) {
          next.set(processId, last);
          continue;
        }
        const path = last?.path ?? logOf(processId);
        const size = await trimLog(path, config.logBytesMax);
        const atMs = nowMs();
        const notedAtMs = noteLogTime(path, {
          size,
          earlier: last,
          notedAtMs: last?.notedAtMs,
          nowMs: atMs,
        });
        next.set(processId, { path, size, isGrowing: size !== last?.size, atMs, notedAtMs });
      }
      seen = next;
    },
    age: async (processIds) => {
      const nowMs = clock.tick();
      for (const processId of processIds) {
        await ageLog(logOf(processId), { nowMs, ageMsMax: config.logAgeMsMax });
      }
    },
  };
}
