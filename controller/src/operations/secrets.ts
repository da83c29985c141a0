import type { SecretInput } from "@strata/protocol/api/resources";
import type { z } from "zod";

import type { SecretBox } from "../pki/secret-box.ts";
import { getCartridge } from "../store/cartridges.ts";
import { listAssigned, listGenerationsInUse } from "../store/processes.ts";
import {
  deleteSecret,
  getSecret,
  getSecretVersion,
  insertSecretVersion,
  listSpecsWithSecrets,
  saveSecret,
  type SecretKey,
  type SecretRow,
} from "../store/secrets.ts";
import { listSubscriptions, type SubscriptionRow } from "../store/subscriptions.ts";
import type { Unit } from "../store/unit.ts";
import { dropUnusedSecretVersions, secretsOfRunning, secretsOfSpec } from "./secret-versions.ts";
import { rollOut } from "./subscription-spec.ts";
import { requireTenant } from "./tenants.ts";
import {
  type Outcome,
  type Precondition,
  refuseInUse,
  requireFound,
  requirePrecondition,
  upsert,
} from "./upsert.ts";

export type PutSecret = SecretKey & {
  readonly value: Buffer;
  readonly precondition?: Precondition;
};

/** A new value is a new version, and a new generation of every subscription that uses the secret; the value that it has
 * already changes nothing.
 * @throws ControllerError REFERENCE_UNKNOWN; LIMITS_UNSATISFIABLE, naming the subscription that it would break. */
export function putSecret(unit: Unit, box: SecretBox, put: PutSecret): Outcome<SecretRow> {
  const { tenant, name, value } = put;
  requireTenant(unit, tenant);
  const current = getSecret(unit.sql, put);
  const isSame = current !== undefined && holds(unit, box, { row: current, value });
  const version = isSame ? current.version : nextVersion(unit, put, current);
  const outcome = upsert(unit, {
    kind: "secret",
    name,
    tenant,
    current,
    fields: { version },
    precondition: put.precondition,
    toRow: (fields, stored): SecretRow => ({ tenant, name, ...fields, ...stored }),
    save: (row) => {
      saveSecret(unit.sql, row);
      const sealed = box.seal({ tenant, name, version }, value);
      insertSecretVersion(unit.sql, { tenant, name, version, sealed, createdAt: unit.now });
    },
  });
  if (outcome.action === "updated") rollOutSecret(unit, put);
  dropUnusedSecretVersions(unit, tenant);
  return outcome;
}

/** @throws ControllerError IN_USE while a subscription, its cartridge or a process refers to it. */
export function removeSecret(
  unit: Unit,
  { precondition, ...key }: SecretKey & { readonly precondition?: Precondition },
): void {
  const row = requireFound(getSecret(unit.sql, key), { kind: "secret", name: key.name });
  requirePrecondition(precondition, row, `secret ${key.name}`);
  const users = listUsers(unit, key).map(({ alias }) => `subscription ${alias}`);
  refuseInUse(`secret ${key.name}`, [...new Set([...users, ...listProcessUsers(unit, key)])]);
  deleteSecret(unit.sql, key);
  unit.emit({
    type: "secret.deleted",
    tenant: key.tenant,
    subject: key.name,
    message: `secret ${key.name} was deleted`,
  });
}

export type SecretRequest = SecretKey & { readonly nodeId: string; readonly version: number };

/** The value, for the agent of a node that has a process which needs it.
 * @throws ControllerError NOT_FOUND for any other, whether there is one or not; SECRET_KEY_LOST */
export function readSecretForNode(
  { sql }: Pick<Unit, "sql">,
  box: SecretBox,
  { nodeId, ...wanted }: SecretRequest,
): Buffer {
  const isAssigned = listAssigned(sql, nodeId).some(
    ({ spec }) =>
      spec.tenant === wanted.tenant &&
      secretsOfSpec(spec).some(
        ({ name, version }) => name === wanted.name && version === wanted.version,
      ),
  );
  const found = isAssigned ? getSecretVersion(sql, wanted) : undefined;
  const row = requireFound(found, { kind: "secret", name: wanted.name });
  return box.open(wanted, row.sealed);
}

/** The bytes of what a PUT says. Pure. */
export function toSecretValue(input: z.output<typeof SecretInput>): Buffer {
  return "text" in input ? Buffer.from(input.text) : Buffer.from(input.base64, "base64");
}

/** Never one that a generation still means: of a secret that was deleted and comes back, a node may have kept the value. */
function nextVersion(
  unit: Unit,
  { tenant, name }: SecretKey,
  current: SecretRow | undefined,
): number {
  if (current !== undefined) return current.version + 1;
  const named = listSpecsWithSecrets(unit.sql, tenant)
    .flatMap(secretsOfSpec)
    .filter((secret) => secret.name === name);
  return Math.max(0, ...named.map(({ version }) => version)) + 1;
}

/** A value that cannot be read any more is another one. */
function holds(
  unit: Unit,
  box: SecretBox,
  { row, value }: { readonly row: SecretRow; readonly value: Buffer },
): boolean {
  const stored = getSecretVersion(unit.sql, row);
  if (stored === undefined) return false;
  try {
    return box.open(row, stored.sealed).equals(value);
  } catch {
    return false;
  }
}

function rollOutSecret(unit: Unit, key: SecretKey): void {
  for (const subscription of listUsers(unit, key)) {
    const cartridge = getCartridge(unit.sql, subscription.cartridge);
    if (cartridge !== undefined) {
      rollOut(unit, { subscription, cartridge, why: `a new value of secret ${key.name}` });
    }
  }
}

/** Subscriptions of the tenant whose next process would read it. */
function listUsers(unit: Unit, { tenant, name }: SecretKey): readonly SubscriptionRow[] {
  return listSubscriptions(unit.sql).filter((row) => {
    if (row.tenant !== tenant || row.deletedAt !== null) return false;
    const running = getCartridge(unit.sql, row.cartridge)?.running;
    return [row.running, ...(running === undefined ? [] : [running])].some((wished) =>
      secretsOfRunning(wished).includes(name),
    );
  });
}

/** Processes of older generations, which may have to start again. */
function listProcessUsers(unit: Unit, { tenant, name }: SecretKey): readonly string[] {
  return listGenerationsInUse(unit.sql).flatMap(({ spec, generation }) =>
    spec.tenant === tenant && secretsOfSpec(spec).some((secret) => secret.name === name)
      ? [`generation ${generation} of subscription ${spec.subscription}`]
      : [],
  );
}
