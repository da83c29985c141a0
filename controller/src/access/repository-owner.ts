/** Whose a repository of the store is, and who may do what with it. */
import type { RegistryAction } from "@strata/registry/authorize";

import type { Sql } from "../store/database.ts";
import { getTenant } from "../store/tenants.ts";
import type { Principal } from "./authenticate.ts";

/** It is always there, and owns what no other tenant does. */
export const DEFAULT_TENANT = "default";

/** That of the tenant whose name is its first part, or else of `default`: `acme/web` and `acme` are of `acme`. */
function ownerOfRepository(sql: Sql, repository: string): string {
  const [first = ""] = repository.split("/");
  return getTenant(sql, first) === undefined ? DEFAULT_TENANT : first;
}

/** Whether the tenancy lets him; his scope is another question. Everybody may read what belongs to `default`. Agents run
 * what all tenants wish for. */
export function reachesRepository(
  sql: Sql,
  { scope, tenant }: Pick<Principal, "scope" | "tenant">,
  { repository, action }: { readonly repository: string; readonly action: RegistryAction },
): boolean {
  if (scope === "admin" || scope === "agent") return true;
  const owner = ownerOfRepository(sql, repository);
  const isReading = action === "pull" || action === "list";
  return owner === tenant || (isReading && owner === DEFAULT_TENANT);
}
