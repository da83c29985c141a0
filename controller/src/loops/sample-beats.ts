/** Which nodes report more often, because level 1 samples what runs on them. */
import { sampleBeatMs } from "../domain/node.ts";
import type { Sql } from "../store/database.ts";
import { listNodesByPolicy } from "../store/processes.ts";
import { isSampled } from "./autoscale-history.ts";
import type { KnownPolicy } from "./autoscale-policies.ts";

export type SampleBeats = {
  /** Looks again, at most once a second. */
  readonly refresh: (sql: Sql, policies: ReadonlyMap<string, KnownPolicy>, nowMs: number) => void;
  /** Milliseconds; undefined for a node that nothing is sampled on. */
  readonly of: (nodeId: string) => number | undefined;
};

const REFRESH_MS = 1000;

export function createSampleBeats(reportsPerSecond: number): SampleBeats {
  let beats = new Map<string, number>();
  let refreshedAt = -Infinity;
  return {
    refresh: (sql, policies, nowMs) => {
      if (Math.abs(nowMs - refreshedAt) < REFRESH_MS) return;
      refreshedAt = nowMs;
      const sampled = [...policies.values()].filter(({ policy }) => policy.metrics.some(isSampled));
      const wanted = new Map<string, number>();
      if (sampled.length > 0) {
        for (const { nodeId, policyName } of listNodesByPolicy(sql)) {
          const known = policies.get(policyName);
          if (known === undefined || !known.policy.metrics.some(isSampled)) continue;
          const interval = known.policy.sampleInterval;
          wanted.set(nodeId, Math.min(interval, wanted.get(nodeId) ?? Infinity));
        }
      }
      beats = new Map(
        [...wanted].map(([nodeId, sampleIntervalMs]) => [
          nodeId,
          sampleBeatMs({ sampleIntervalMs, nodes: wanted.size, reportsPerSecond }),
        ]),
      );
    },
    of: (nodeId) => beats.get(nodeId),
  };
}
