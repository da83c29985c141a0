import type { Scope } from "@strata/protocol/access";
import type { CartridgeInput } from "@strata/protocol/api/resources";
import type { z } from "zod";

import { DEFAULT_TENANT } from "../access/repository-owner.ts";
import { ControllerError } from "../errors.ts";
import type { SignedRunnableImage } from "../images/signed-image.ts";
import {
  type CartridgeRow,
  deleteCartridge,
  getCartridge,
  saveCartridge,
} from "../store/cartridges.ts";
import { getPartition } from "../store/partitions.ts";
import { saveImageSignatures } from "../store/signatures.ts";
import { listSubscriptionsWhere } from "../store/subscriptions.ts";
import type { Unit } from "../store/unit.ts";
import { requireHostPathsAllowed } from "./host-paths.ts";
import type { Delete, Put } from "./partitions.ts";
import { toRunning } from "./running-input.ts";
import { emitUnsigned, requireSigned } from "./signature-policies.ts";
import { rollOutCartridge } from "./subscription-spec.ts";
import {
  type Outcome,
  refuseInUse,
  requireFound,
  requirePrecondition,
  requireReference,
  upsert,
} from "./upsert.ts";

export type PutCartridge = Put<z.output<typeof CartridgeInput>> & {
  /** What the image reference names in the store now. */
  readonly image: SignedRunnableImage;
  /** Of whoever asks. */
  readonly scope: Scope;
  readonly tenant: string;
};

/** @throws ControllerError REFERENCE_UNKNOWN for an unknown partition, IMAGE_UNSIGNED, LIMITS_UNSATISFIABLE, FORBIDDEN. */
export function putCartridge(unit: Unit, put: PutCartridge): Outcome<CartridgeRow> {
  const { name, input, image } = put;
  const running = toRunning(input);
  requireHostPathsAllowed(put.scope, running);
  const partition = input.partition ?? null;
  if (partition !== null) {
    const exists = getPartition(unit.sql, partition) !== undefined;
    requireReference(exists, { kind: "partition", name: partition });
  }
  const objection = requireSigned(unit, image);
  const current = getCartridge(unit.sql, name);
  if (current !== undefined) requireOwnName(current, put);
  const tenant = current?.tenant ?? put.tenant;
  const outcome = upsert(unit, {
    kind: "cartridge",
    name,
    ...ofTenant(tenant),
    current,
    fields: {
      description: input.description,
      image: input.image,
      repository: image.repository,
      digest: image.digest,
      imagePorts: image.ports,
      partition,
      running,
    },
    precondition: put.precondition,
    toRow: (fields, stored): CartridgeRow => ({ name, tenant, ...fields, ...stored }),
    save: (row) => saveCartridge(unit.sql, row),
  });
  saveImageSignatures(unit.sql, image);
  if (objection !== undefined) emitUnsigned(unit, name, objection);
  if (outcome.action === "updated") rollOutCartridge(unit, outcome.row, current);
  return outcome;
}

/** Who asks, and for whom. */
export type CartridgeCaller = { readonly scope: Scope; readonly tenant: string };

/** Those of `default` are for all; an admin sees all. */
export function seesCartridge(caller: CartridgeCaller, owner: string): boolean {
  return caller.scope === "admin" || owner === caller.tenant || owner === DEFAULT_TENANT;
}

/** What all share is changed by its owner alone: it runs in other tenants too.
 * @throws ControllerError FORBIDDEN, or NAME_TAKEN for one that the caller cannot see */
function requireOwnName(row: CartridgeRow, caller: CartridgeCaller): void {
  if (caller.scope === "admin" || row.tenant === caller.tenant) return;
  if (!seesCartridge(caller, row.tenant)) {
    throw new ControllerError("NAME_TAKEN", `there is a cartridge ${row.name} already`, {
      hint: "choose another name",
    });
  }
  throw new ControllerError("FORBIDDEN", `cartridge ${row.name} is of tenant ${row.tenant}`, {
    hint: `make one of your own under another name, or use a token of tenant ${row.tenant}`,
  });
}

/** Its events are for its own tenant; those of what all share are for all. */
function ofTenant(tenant: string): { readonly tenant?: string } {
  return tenant === DEFAULT_TENANT ? {} : { tenant };
}

/** @throws ControllerError IN_USE, FORBIDDEN; NOT_FOUND, also for one that the caller cannot see */
export function removeCartridge(
  unit: Unit,
  { name, precondition, ...caller }: Delete & CartridgeCaller,
): void {
  const known = getCartridge(unit.sql, name);
  const seen = known !== undefined && seesCartridge(caller, known.tenant) ? known : undefined;
  const row = requireFound(seen, { kind: "cartridge", name });
  requireOwnName(row, caller);
  requirePrecondition(precondition, row, `cartridge ${name}`);
  const users = listSubscriptionsWhere(unit.sql, { cartridge: name });
  refuseInUse(
    `cartridge ${name}`,
    users.map(({ tenant, alias }) =>
      caller.scope === "admin" || tenant === caller.tenant
        ? `subscription ${tenant}/${alias}`
        : "a subscription of another tenant",
    ),
  );
  deleteCartridge(unit.sql, name);
  unit.emit({
    type: "cartridge.deleted",
    ...ofTenant(row.tenant),
    subject: name,
    message: `cartridge ${name} was deleted`,
  });
}
