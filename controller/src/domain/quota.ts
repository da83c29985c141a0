/** What a tenant may use, and what its wishes add up to. Pure. */
import type { Limits } from "@strata/protocol/agent/messages";
import type { TenantQuota } from "@strata/protocol/api/tenants";
import { formatBytes } from "@strata/protocol/format-bytes";

import type { Problem } from "./process.ts";

/** Processes, thousandths of a processor, bytes. */
export type Use = { readonly processes: number; readonly cpu: number; readonly memory: number };

export const NO_USE: Use = { processes: 0, cpu: 0, memory: 0 };

type Size = Pick<Limits, "cpuMaxMillis" | "memoryMaxBytes">;

/** With so many processes of this size more. */
export function withProcesses(use: Use, limits: Size, count: number): Use {
  return {
    processes: use.processes + count,
    cpu: use.cpu + count * limits.cpuMaxMillis,
    memory: use.memory + count * limits.memoryMaxBytes,
  };
}

const dimensions = ["processes", "cpu", "memory"] as const;

/** What `after` is too much of, in words: `cpu 5 of 4`. Undefined while all fits. What was over the quota before and
 * did not grow is no new breach, so that a tenant above a lowered quota can still change and shrink what it has. */
export function findBreach(
  quota: TenantQuota,
  { before, after }: { readonly before: Use; readonly after: Use },
): string | undefined {
  const breach = dimensions.find((name) => {
    const most = quota[name];
    return most !== undefined && after[name] > most && after[name] > before[name];
  });
  return breach === undefined
    ? undefined
    : `${breach} ${show(breach, after[breach])} of ${show(breach, quota[breach] ?? 0)}`;
}

function show(name: keyof Use, amount: number): string {
  if (name === "memory") return `${formatBytes(amount)}B`;
  return String(name === "cpu" ? amount / 1000 : amount);
}

/** One subscription of a tenant, as placement sees it. */
export type Claim = {
  readonly tenant: string;
  /** How many processes it is wished to have. */
  readonly count: number;
  /** Those that have a node and shall run, each with its size, then those that wait, oldest first. */
  readonly placed: readonly Size[];
  readonly waiting: readonly { readonly processId: string; readonly limits: Size }[];
};

/** Which waiting processes would take their tenant over its quota. What a subscription has beyond its wished count
 * replaces something that goes (a roll-out, a drained node): it counts for nothing, or a tenant at its quota could never
 * roll out. */
export function planQuotaRefusals(
  claims: readonly Claim[],
  quotaOf: (tenant: string) => TenantQuota | undefined,
): ReadonlyMap<string, Problem> {
  const refusals = new Map<string, Problem>();
  const used = new Map<string, Use>();
  for (const { tenant, placed, count } of claims) {
    const use = placed
      .slice(0, count)
      .reduce((sum, limits) => withProcesses(sum, limits, 1), used.get(tenant) ?? NO_USE);
    used.set(tenant, use);
  }
  for (const { tenant, placed, count, waiting } of claims) {
    const quota = quotaOf(tenant);
    if (quota === undefined) continue;
    for (const { processId, limits } of waiting.slice(0, Math.max(0, count - placed.length))) {
      const before = used.get(tenant) ?? NO_USE;
      const after = withProcesses(before, limits, 1);
      const breach = findBreach(quota, { before, after });
      if (breach === undefined) used.set(tenant, after);
      else refusals.set(processId, quotaProblem(tenant, breach));
    }
  }
  return refusals;
}

function quotaProblem(tenant: string, breach: string): Problem {
  return {
    code: "QUOTA_EXCEEDED",
    message: `the quota of tenant ${tenant} has no room for this process: ${breach}`,
  };
}
