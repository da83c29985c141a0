import { type PartitionPolicy, PartitionPolicyInput } from "@strata/protocol/api/autoscale";
import type { PartitionInput } from "@strata/protocol/api/resources";
import { z } from "zod";

import { listCartridgesOfPartition } from "../store/cartridges.ts";
import { listNodesOfPartition } from "../store/nodes.ts";
import {
  deletePartition,
  deletePartitionPolicy,
  getPartition,
  getPartitionPolicy,
  listPartitionsOfPolicy,
  type PartitionPolicyRow,
  type PartitionRow,
  savePartition,
  savePartitionPolicy,
} from "../store/partitions.ts";
import { listSubscriptionsWhere } from "../store/subscriptions.ts";
import { deleteJoinTokensOfPartition } from "../store/tokens.ts";
import type { Unit } from "../store/unit.ts";
import { listVmsPage } from "../store/vms.ts";
import { requireOffers } from "./providers.ts";
import {
  type Outcome,
  type Precondition,
  refuseInUse,
  requireFound,
  requirePrecondition,
  requireReference,
  upsert,
} from "./upsert.ts";

export type Put<Input> = {
  readonly name: string;
  readonly input: Input;
  readonly precondition?: Precondition;
};
export type Delete = { readonly name: string; readonly precondition?: Precondition };

/** @throws ControllerError REFERENCE_UNKNOWN for an unknown policy. */
export function putPartition(
  unit: Unit,
  { name, input, precondition }: Put<z.output<typeof PartitionInput>>,
): Outcome<PartitionRow> {
  const policy = input.policy ?? null;
  if (policy !== null) {
    const exists = getPartitionPolicy(unit.sql, policy) !== undefined;
    requireReference(exists, { kind: "partition policy", name: policy });
  }
  return upsert(unit, {
    kind: "partition",
    name,
    current: getPartition(unit.sql, name),
    fields: { description: input.description, labels: input.labels, policy, roles: input.roles },
    precondition,
    toRow: (fields, stored) => ({ name, ...fields, ...stored }),
    save: (row) => savePartition(unit.sql, row),
  });
}

/** @throws ControllerError IN_USE */
export function removePartition(unit: Unit, { name, precondition }: Delete): void {
  const row = requireFound(getPartition(unit.sql, name), { kind: "partition", name });
  requirePrecondition(precondition, row, `partition ${name}`);
  refuseInUse(`partition ${name}`, [
    ...listNodesOfPartition(unit.sql, name).map((node) => `node ${node.name}`),
    ...listCartridgesOfPartition(unit.sql, name).map((cartridge) => `cartridge ${cartridge.name}`),
    ...listSubscriptionsWhere(unit.sql, { partition: name }).map(
      ({ tenant, alias }) => `subscription ${tenant}/${alias}`,
    ),
    ...listVmsPage(unit.sql, { partition: name, after: "", limit: 10 }).map(({ id }) => `VM ${id}`),
  ]);
  deleteJoinTokensOfPartition(unit.sql, name);
  deletePartition(unit.sql, name);
  unit.emit({ type: "partition.deleted", subject: name, message: `partition ${name} was deleted` });
}

/** @throws ControllerError REFERENCE_UNKNOWN for an unknown provider or flavor. */
export function putPartitionPolicy(
  unit: Unit,
  { name, input, precondition }: Put<PartitionPolicy>,
): Outcome<PartitionPolicyRow> {
  requireOffers(unit, input);
  return upsert(unit, {
    kind: "partition-policy",
    name,
    current: getPartitionPolicy(unit.sql, name),
    fields: { policy: z.encode(PartitionPolicyInput, input) },
    precondition,
    toRow: (fields, stored) => ({ name, ...fields, ...stored }),
    save: (row) => savePartitionPolicy(unit.sql, row),
  });
}

/** @throws ControllerError IN_USE */
export function removePartitionPolicy(unit: Unit, { name, precondition }: Delete): void {
  const row = requireFound(getPartitionPolicy(unit.sql, name), { kind: "partition policy", name });
  requirePrecondition(precondition, row, `partition policy ${name}`);
  const users = listPartitionsOfPolicy(unit.sql, name).map((user) => `partition ${user.name}`);
  refuseInUse(`partition policy ${name}`, users);
  deletePartitionPolicy(unit.sql, name);
  unit.emit({
    type: "partition-policy.deleted",
    subject: name,
    message: `partition policy ${name} was deleted`,
  });
}
