import type { ScalingPolicy } from "../domain/autoscale/l1/model.ts";
/** The scaling policies that level 1 decides by: parsed once for each of their revisions. */
import { isAutoscaled } from "../domain/scaling.ts";
import type { Sql } from "../store/database.ts";
import {
  getScalingPolicy,
  listScalingPolicyRevisions,
  parseScalingPolicy,
} from "../store/scaling-policies.ts";

export type KnownPolicy = {
  readonly name: string;
  readonly revision: number;
  readonly policy: ScalingPolicy;
};

/** By name; those that only bound a count are left out. */
export type PolicyBook = { readonly read: (sql: Sql) => ReadonlyMap<string, KnownPolicy> };

export function createPolicyBook(): PolicyBook {
  let known = new Map<string, KnownPolicy>();
  return {
    read: (sql) => {
      known = new Map(
        listScalingPolicyRevisions(sql).flatMap(({ name, revision }) => {
          const before = known.get(name);
          if (before?.revision === revision) return [[name, before] as const];
          const row = getScalingPolicy(sql, name);
          if (row === undefined) return [];
          return [[name, { name, revision, policy: parseScalingPolicy(row) }] as const];
        }),
      );
      return new Map([...known].filter(([, { policy }]) => isAutoscaled(policy)));
    },
  };
}
