/** What the fields of a subscription or job name. */
import { DEFAULT_TENANT } from "../access/repository-owner.ts";
import { ControllerError } from "../errors.ts";
import { type CartridgeRow, getCartridge } from "../store/cartridges.ts";
import { getPartition } from "../store/partitions.ts";
import type { Unit } from "../store/unit.ts";
import { requireReference } from "./upsert.ts";

/** Its own word about the partition goes before that of its cartridge.
 * @throws ControllerError REFERENCE_UNKNOWN, INVALID */
export function requireCartridge(
  unit: Unit,
  input: {
    /** Whose subscription or job it is for: it takes its own cartridges and those of `default`. */
    readonly tenant: string;
    readonly cartridge: string;
    readonly partition?: string | undefined;
  },
): { readonly cartridge: CartridgeRow; readonly partition: string } {
  const cartridge = getCartridge(unit.sql, input.cartridge);
  if (cartridge === undefined || ![input.tenant, DEFAULT_TENANT].includes(cartridge.tenant)) {
    throw new ControllerError("REFERENCE_UNKNOWN", `there is no cartridge ${input.cartridge}`, {
      hint: `create it with PUT /v1/cartridges/${input.cartridge}, or choose one of GET /v1/cartridges`,
    });
  }
  const partition = input.partition ?? cartridge.partition;
  if (partition === null) {
    throw new ControllerError(
      "INVALID",
      `neither it nor its cartridge ${input.cartridge} names a partition`,
      { hint: 'add "partition" to one of them; GET /v1/partitions lists what there is' },
    );
  }
  const partitionExists = getPartition(unit.sql, partition) !== undefined;
  requireReference(partitionExists, { kind: "partition", name: partition });
  return { cartridge, partition };
}
