import { type ScalingPolicy, ScalingPolicyInput } from "@strata/protocol/api/autoscale";
import { z } from "zod";

import {
  deleteScalingPolicy,
  getScalingPolicy,
  type ScalingPolicyRow,
  saveScalingPolicy,
} from "../store/scaling-policies.ts";
import { listSubscriptionsWhere } from "../store/subscriptions.ts";
import type { Unit } from "../store/unit.ts";
import type { Delete, Put } from "./partitions.ts";
import { type Outcome, refuseInUse, requireFound, requirePrecondition, upsert } from "./upsert.ts";

/** Subscriptions outside the new bounds are brought inside by the next tick of the reconcile loop. */
export function putScalingPolicy(
  unit: Unit,
  { name, input, precondition }: Put<ScalingPolicy>,
): Outcome<ScalingPolicyRow> {
  return upsert(unit, {
    kind: "scaling-policy",
    name,
    current: getScalingPolicy(unit.sql, name),
    fields: { policy: z.encode(ScalingPolicyInput, input) },
    precondition,
    toRow: (fields, stored) => ({ name, ...fields, ...stored }),
    save: (row) => saveScalingPolicy(unit.sql, row),
  });
}

/** @throws ControllerError IN_USE */
export function removeScalingPolicy(unit: Unit, { name, precondition }: Delete): void {
  const row = requireFound(getScalingPolicy(unit.sql, name), { kind: "scaling policy", name });
  requirePrecondition(precondition, row, `scaling policy ${name}`);
  const users = listSubscriptionsWhere(unit.sql, { scalingPolicy: name });
  refuseInUse(
    `scaling policy ${name}`,
    users.map(({ tenant, alias }) => `subscription ${tenant}/${alias}`),
  );
  deleteScalingPolicy(unit.sql, name);
  unit.emit({
    type: "scaling-policy.deleted",
    subject: name,
    message: `scaling policy ${name} was deleted`,
  });
}
