/** Who may have which host. Pure. */

export type HostClaim = { readonly tenant: string; readonly hosts: readonly string[] };

export type HostFault =
  /** It lies below the domain of the installation, where each tenant has a part of its own. */
  | { readonly kind: "domain"; readonly host: string; readonly tenant: string | null }
  /** Another tenant has it, or one that it covers, or one that covers it. */
  | { readonly kind: "taken"; readonly host: string };

/** Below DOMAIN a tenant has TENANT.DOMAIN, all under it and wildcards of it. Elsewhere who comes first has a host, and
 * keeps others from wildcards that would cover it. Undefined when all is well. */
export function findHostFault(
  claim: HostClaim,
  { domain, others }: { readonly domain: string; readonly others: readonly HostClaim[] },
): HostFault | undefined {
  const taken = others
    .filter(({ tenant }) => tenant !== claim.tenant)
    .flatMap(({ hosts }) => hosts);
  for (const host of claim.hosts) {
    const owner = ownerBelow(host, domain);
    if (owner !== undefined && owner !== claim.tenant)
      return { kind: "domain", host, tenant: owner };
    if (taken.some((other) => overlaps(host, other))) return { kind: "taken", host };
  }
  return undefined;
}

/** Undefined for a host that has nothing to do with the domain; null for what is nobody's: the domain itself, and
 * wildcards over all of it. */
function ownerBelow(host: string, domain: string): string | null | undefined {
  const bare = withoutWildcard(host);
  if (bare === domain) return null;
  if (bare.endsWith(`.${domain}`)) {
    const labels = bare.slice(0, -domain.length - 1).split(".");
    return labels.at(-1) ?? null;
  }
  return host !== bare && domain.endsWith(`.${bare}`) ? null : undefined;
}

function overlaps(left: string, right: string): boolean {
  return left === right || covers(left, right) || covers(right, left);
}

function covers(wildcard: string, host: string): boolean {
  const bare = withoutWildcard(wildcard);
  return wildcard !== bare && withoutWildcard(host).endsWith(`.${bare}`);
}

function withoutWildcard(host: string): string {
  return host.startsWith("*.") ? host.slice(2) : host;
}
