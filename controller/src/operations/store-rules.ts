import type { RetentionPolicyInput, StoreQuotaInput } from "@strata/protocol/api/store-rules";
import type { z } from "zod";

import {
  deleteRetentionPolicy,
  deleteStoreQuota,
  getRetentionPolicy,
  getStoreQuota,
  type RetentionPolicyRow,
  saveRetentionPolicy,
  saveStoreQuota,
  type StoreQuotaRow,
} from "../store/store-rules.ts";
import { getTenant } from "../store/tenants.ts";
import type { Unit } from "../store/unit.ts";
import type { Delete, Put } from "./partitions.ts";
import { type Outcome, requireFound, requirePrecondition, upsert } from "./upsert.ts";

/** It counts from the next collection on. */
export function putRetentionPolicy(
  unit: Unit,
  { name, input, precondition }: Put<z.output<typeof RetentionPolicyInput>>,
): Outcome<RetentionPolicyRow> {
  return upsert(unit, {
    kind: "retention-policy",
    name,
    current: getRetentionPolicy(unit.sql, name),
    fields: {
      repositories: input.repositories,
      keepLast: input.keepLast ?? null,
      keepTags: input.keepTags ?? null,
      keepPulledWithinMs: input.keepPulledWithin ?? null,
      keepUntagged: input.keepUntagged,
    },
    precondition,
    toRow: (fields, stored) => ({ name, ...fields, ...stored }),
    save: (row) => saveRetentionPolicy(unit.sql, row),
  });
}

export function removeRetentionPolicy(unit: Unit, { name, precondition }: Delete): void {
  const row = requireFound(getRetentionPolicy(unit.sql, name), { kind: "retention policy", name });
  requirePrecondition(precondition, row, `retention policy ${name}`);
  deleteRetentionPolicy(unit.sql, name);
  unit.emit({
    type: "retention-policy.deleted",
    subject: name,
    message: `retention policy ${name} was deleted`,
  });
}

/** It counts from the next push on; what is there stays, even if it is more. */
export function putStoreQuota(
  unit: Unit,
  { name, input, precondition }: Put<z.output<typeof StoreQuotaInput>>,
): Outcome<StoreQuotaRow> {
  return upsert(unit, {
    kind: "store-quota",
    name,
    ...ofTenant(unit, name),
    current: getStoreQuota(unit.sql, name),
    fields: { bytes: input.bytes },
    precondition,
    toRow: (fields, stored) => ({ name, ...fields, ...stored }),
    save: (row) => saveStoreQuota(unit.sql, row),
  });
}

export function removeStoreQuota(unit: Unit, { name, precondition }: Delete): void {
  const row = requireFound(getStoreQuota(unit.sql, name), { kind: "store quota", name });
  requirePrecondition(precondition, row, `store quota ${name}`);
  deleteStoreQuota(unit.sql, name);
  unit.emit({
    type: "store-quota.deleted",
    ...ofTenant(unit, name),
    subject: name,
    message: `store quota ${name} was deleted`,
  });
}

/** A tenant's quota is nobody else's business. */
function ofTenant({ sql }: Unit, name: string): { readonly tenant?: string } {
  return getTenant(sql, name) === undefined ? {} : { tenant: name };
}
