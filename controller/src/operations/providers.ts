import { choiceKey, type PartitionPolicy } from "@strata/protocol/api/autoscale";
import { FlavorsInput, type ProviderFlavor } from "@strata/protocol/api/providers";
import { z } from "zod";

import { ControllerError } from "../errors.ts";
import { ProviderSettings } from "../providers/create-provider.ts";
import type { Sql } from "../store/database.ts";
import { listAllPartitionPolicies, parsePartitionPolicy } from "../store/partitions.ts";
import { deleteProvider, getProvider, type ProviderRow, saveProvider } from "../store/providers.ts";
import type { Unit } from "../store/unit.ts";
import { countVms } from "../store/vms.ts";
import type { Delete, Put } from "./partitions.ts";
import type { ProviderInput } from "./provider-input.ts";
import {
  type Outcome,
  refuseInUse,
  requireFound,
  requirePrecondition,
  requireReference,
  upsert,
} from "./upsert.ts";

/** @throws ControllerError IN_USE when a policy uses a flavor that is gone, or when it becomes another kind of provider
 * while it still has VMs. */
export function putProvider(
  unit: Unit,
  { name, input, precondition }: Put<ProviderInput>,
): Outcome<ProviderRow> {
  const current = getProvider(unit.sql, name);
  const vms = current === undefined ? 0 : countVms(unit.sql, { provider: name });
  if (vms > 0 && current?.settings["kind"] !== input.settings.kind) {
    throw new ControllerError("IN_USE", `provider ${name} still has ${vms} VMs of another kind`, {
      hint: "make another provider, and let the policies use that one",
    });
  }
  for (const { policy, flavor } of usersOf(unit.sql, name)) {
    if (Object.hasOwn(input.flavors, flavor)) continue;
    refuseInUse(`flavor ${flavor} of provider ${name}`, [`partition policy ${policy}`]);
  }
  const fields: Pick<ProviderRow, "settings" | "flavors"> = {
    settings: input.settings,
    flavors: z.encode(FlavorsInput, input.flavors),
  };
  return upsert(unit, {
    kind: "provider",
    name,
    current,
    fields,
    precondition,
    toRow: (fields, stored): ProviderRow => ({ name, ...fields, ...stored }),
    save: (row) => saveProvider(unit.sql, row),
  });
}

/** @throws ControllerError IN_USE */
export function removeProvider(unit: Unit, { name, precondition }: Delete): void {
  const row = requireFound(getProvider(unit.sql, name), { kind: "provider", name });
  requirePrecondition(precondition, row, `provider ${name}`);
  const vms = countVms(unit.sql, { provider: name });
  refuseInUse(`provider ${name}`, [
    ...usersOf(unit.sql, name).map(({ policy }) => `partition policy ${policy}`),
    ...(vms === 0 ? [] : [`${vms} VMs`]),
  ]);
  deleteProvider(unit.sql, name);
  unit.emit({ type: "provider.deleted", subject: name, message: `provider ${name} was deleted` });
}

/** As they were checked when they were written. */
export function parseSettings({ settings }: Pick<ProviderRow, "settings">): ProviderSettings {
  return ProviderSettings.parse(settings);
}

export function parseFlavors({
  flavors,
}: Pick<ProviderRow, "flavors">): Readonly<Record<string, ProviderFlavor>> {
  return FlavorsInput.parse(flavors);
}

/** @throws ControllerError REFERENCE_UNKNOWN for an unknown provider or flavor, INVALID for a provider that makes
 * nothing. */
export function requireOffers(unit: Unit, policy: PartitionPolicy): void {
  for (const choice of policy.providers) {
    const row = getProvider(unit.sql, choice.provider);
    requireReference(row !== undefined, { kind: "provider", name: choice.provider });
    if (row?.settings["kind"] === "static") {
      throw new ControllerError(
        "INVALID",
        `provider ${choice.provider} is static: it makes no VMs`,
        {
          hint: "leave it out of providers: nodes join by a token of POST /v1/join-tokens at any time",
        },
      );
    }
    if (row === undefined || Object.hasOwn(row.flavors, choice.flavor)) continue;
    const known = Object.keys(row.flavors).join(", ");
    throw new ControllerError("REFERENCE_UNKNOWN", `${choiceKey(choice)} is no flavor`, {
      hint: `provider ${choice.provider} has ${known === "" ? "none" : known}; PUT /v1/providers/${choice.provider} adds one`,
    });
  }
}

function usersOf(
  sql: Sql,
  provider: string,
): readonly { readonly policy: string; readonly flavor: string }[] {
  return listAllPartitionPolicies(sql).flatMap((row) =>
    parsePartitionPolicy(row)
      .providers.filter((choice) => choice.provider === provider)
      .map(({ flavor }) => ({ policy: row.name, flavor })),
  );
}
