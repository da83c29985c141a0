/** Scopes of the distribution token specification, "Resource Scope": `repository:team/app:pull,push`. */
import { isRepository } from "@strata/protocol/oci/reference";

import type { AuthorizeRequest, RegistryAction } from "../authorize.ts";

/** What an access token is good for. `name` of a `registry` is `catalog`. */
export type Access = {
  readonly type: "repository" | "registry";
  readonly name: string;
  readonly actions: readonly RegistryAction[];
};

/** More scopes of one request are refused. */
export const SCOPES_MAX = 64;

const repositoryActions: readonly RegistryAction[] = ["pull", "push", "delete"];

/** Reads one scope; undefined for what we have nothing of, which is then simply not granted. */
export function readScope(text: string): Access | undefined {
  const [, type, name = "", words = ""] =
    /^([a-z]+)(?:\([a-z]*\))?:(.+):([a-z*,]*)$/.exec(text) ?? [];
  const asked = words.split(",");
  const isAsked = (action: RegistryAction): boolean =>
    asked.includes(action) || asked.includes("*");
  if (type === "registry" && name === "catalog" && asked.includes("*")) {
    return { type, name, actions: ["list"] };
  }
  if (type !== "repository" || !isRepository(name)) return undefined;
  return { type, name, actions: repositoryActions.filter(isAsked) };
}

type Wanted = Pick<AuthorizeRequest, "action" | "repository">;

/** Whether a token with this access is good for the request. `/v2/` takes any token; what the catalog may show is
 * asked for each repository, and the token for the catalog is good for all of these questions. */
export function coversRequest(access: readonly Access[], { action, repository }: Wanted): boolean {
  if (action === "list") return access.some(({ type }) => type === "registry");
  if (repository === undefined) return true;
  return access.some(
    ({ type, name, actions }) =>
      type === "repository" && name === repository && actions.includes(action),
  );
}

/** The scope that a client should ask for; undefined where any token will do. */
export function scopeFor({ action, repository }: Wanted): string | undefined {
  if (action === "list") return "registry:catalog:*";
  if (repository === undefined) return undefined;
  return `repository:${repository}:${action === "push" ? "pull,push" : action}`;
}
