import type { Scope } from "@strata/protocol/access";
import type { CartridgeInput } from "@strata/protocol/api/resources";
import type { z } from "zod";

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
  const outcome = upsert(unit, {
    kind: "cartridge",
    name,
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
    toRow: (fields, stored): CartridgeRow => ({ name, ...fields, ...stored }),
    save: (row) => saveCartridge(unit.sql, row),
  });
  saveImageSignatures(unit.sql, image);
  if (objection !== undefined) emitUnsigned(unit, name, objection);
  if (outcome.action === "updated") rollOutCartridge(unit, outcome.row, current);
  return outcome;
}

/** @throws ControllerError IN_USE */
export function removeCartridge(unit: Unit, { name, precondition }: Delete): void {
  const row = requireFound(getCartridge(unit.sql, name), { kind: "cartridge", name });
  requirePrecondition(precondition, row, `cartridge ${name}`);
  const users = listSubscriptionsWhere(unit.sql, { cartridge: name });
  refuseInUse(
    `cartridge ${name}`,
    users.map(({ tenant, alias }) => `subscription ${tenant}/${alias}`),
  );
  deleteCartridge(unit.sql, name);
  unit.emit({ type: "cartridge.deleted", subject: name, message: `cartridge ${name} was deleted` });
}
