/** Which versions of secrets are still in use. */
import type { ProcessSpec, SecretReference } from "@strata/protocol/agent/messages";

import type { Running } from "../domain/running.ts";
import {
  deleteSecretVersion,
  listOldSecretVersions,
  listSpecsWithSecrets,
} from "../store/secrets.ts";
import type { Unit } from "../store/unit.ts";

/** Every secret that a process of this spec reads. Pure. */
export function secretsOfSpec({
  files = [],
  secretEnv = {},
}: Pick<ProcessSpec, "files" | "secretEnv">): readonly SecretReference[] {
  return [
    ...files.flatMap(({ content }) => ("secret" in content ? [content.secret] : [])),
    ...Object.values(secretEnv),
  ];
}

/** The names of all secrets that somebody asked for here. Pure. */
export function secretsOfRunning({ files = [], secretEnv = {} }: Running): readonly string[] {
  return [
    ...files.flatMap(({ content }) => ("secret" in content ? [content.secret] : [])),
    ...Object.values(secretEnv),
  ];
}

/** Deletes the values that are neither the newest nor of a generation that is kept. */
export function dropUnusedSecretVersions(unit: Unit, tenant: string): void {
  const old = listOldSecretVersions(unit.sql, tenant);
  if (old.length === 0) return;
  const used = new Set(
    listSpecsWithSecrets(unit.sql, tenant).flatMap((spec) => secretsOfSpec(spec).map(keyOf)),
  );
  for (const version of old) {
    if (!used.has(keyOf(version))) deleteSecretVersion(unit.sql, { tenant, ...version });
  }
}

function keyOf({ name, version }: SecretReference): string {
  return `${name}.${version}`;
}
