/** What a token may do. A route names the one scope that it needs; `scopeIncludes` says which tokens have it. */
export const scopes = ["admin", "operator", "deployer", "viewer", "agent", "pull", "push"] as const;
export type Scope = (typeof scopes)[number];

/** admin     everything, tokens and privileged settings included
 * operator   nodes, partitions, policies, and all that a deployer may
 * deployer   cartridges, subscriptions, exec, push and pull
 * viewer     reads all but secrets
 * agent      one node's own routes, and pull
 * push, pull the store alone */
const includes: Readonly<Record<Scope, readonly Scope[]>> = {
  admin: ["admin", "operator", "deployer", "viewer", "push", "pull"],
  operator: ["operator", "deployer", "viewer", "push", "pull"],
  deployer: ["deployer", "viewer", "push", "pull"],
  viewer: ["viewer", "pull"],
  agent: ["agent", "pull"],
  push: ["push", "pull"],
  pull: ["pull"],
};

export function scopeIncludes(held: Scope, needed: Scope): boolean {
  return includes[held].includes(needed);
}
