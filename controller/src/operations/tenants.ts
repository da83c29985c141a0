import type { TenantInput } from "@strata/protocol/api/tenants";
import type { z } from "zod";

import { DEFAULT_TENANT } from "../access/repository-owner.ts";
import { ControllerError } from "../errors.ts";
import { listCartridges } from "../store/cartridges.ts";
import { getStoreQuota } from "../store/store-rules.ts";
import {
  deleteTenant,
  getTenant,
  listNamedTenants,
  listOwned,
  saveTenant,
  type TenantRow,
} from "../store/tenants.ts";
import type { Store, Unit } from "../store/unit.ts";
import type { Delete, Put } from "./partitions.ts";
import { putStoreQuota, removeStoreQuota } from "./store-rules.ts";
import {
  type Outcome,
  refuseInUse,
  requireFound,
  requirePrecondition,
  requireReference,
  upsert,
} from "./upsert.ts";

/** A quota counts from the next wish and the next placement on: what runs goes on. The storage is a quota of the store
 * under the tenant's name, so that there is one word about it.
 * @throws ControllerError INVALID for storage of the tenant `default`, whose repositories have no prefix in common. */
export function putTenant(
  unit: Unit,
  { name, input, precondition }: Put<z.output<typeof TenantInput>>,
): Outcome<TenantRow> {
  const { storage, ...quota } = input.quota;
  if (storage !== undefined && name === DEFAULT_TENANT) {
    throw new ControllerError("INVALID", `tenant ${name} has no repositories under its name`, {
      hint: "set a quota for each repository: PUT /v1/store-quotas/{name}",
    });
  }
  const outcome = upsert(unit, {
    kind: "tenant",
    name,
    tenant: name,
    current: getTenant(unit.sql, name),
    fields: { description: input.description, quota },
    precondition,
    toRow: (fields, stored): TenantRow => ({ name, ...fields, ...stored }),
    save: (row) => saveTenant(unit.sql, row),
  });
  if (name !== DEFAULT_TENANT) setStorage(unit, name, storage);
  return outcome;
}

function setStorage(unit: Unit, name: string, bytes: number | undefined): void {
  if (bytes !== undefined) putStoreQuota(unit, { name, input: { bytes }, precondition: undefined });
  else if (getStoreQuota(unit.sql, name) !== undefined)
    removeStoreQuota(unit, { name, precondition: undefined });
}

/** @throws ControllerError IN_USE while it owns anything, and always for `default`. */
export function removeTenant(
  unit: Unit,
  { name, precondition, storageBytes }: Delete & { readonly storageBytes: number },
): void {
  const row = requireFound(getTenant(unit.sql, name), { kind: "tenant", name });
  requirePrecondition(precondition, row, `tenant ${name}`);
  const cartridges = listCartridges(unit.sql, { after: "", limit: CARTRIDGES_NAMED }, [name]).map(
    (cartridge) => `cartridge ${cartridge.name}`,
  );
  refuseInUse(`tenant ${name}`, [
    ...(name === DEFAULT_TENANT ? ["all that no other tenant owns"] : []),
    ...listOwned(unit.sql, name),
    ...cartridges,
    ...(storageBytes > 0 ? [`images of ${storageBytes} bytes in the store`] : []),
  ]);
  setStorage(unit, name, undefined);
  deleteTenant(unit.sql, name);
  unit.emit({
    type: "tenant.deleted",
    tenant: name,
    subject: name,
    message: `tenant ${name} was deleted`,
  });
}

const CARTRIDGES_NAMED = 6;

/** @throws ControllerError REFERENCE_UNKNOWN */
export function requireTenant({ sql }: Pick<Unit, "sql">, name: string): void {
  requireReference(getTenant(sql, name) !== undefined, { kind: "tenant", name });
}

/** Gives `default`, and every tenant of a database from before tenants were resources, a row. */
export function ensureTenants(store: Store): void {
  const missing = [DEFAULT_TENANT, ...listNamedTenants(store.sql)].filter(
    (name) => getTenant(store.sql, name) === undefined,
  );
  if (missing.length === 0) return;
  store.write(({ sql, now }) => {
    for (const name of new Set(missing))
      saveTenant(sql, {
        name,
        description: "",
        quota: {},
        revision: 1,
        createdAt: now,
        updatedAt: now,
      });
  });
}
