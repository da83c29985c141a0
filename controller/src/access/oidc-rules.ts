/** Which scope and tenant the claims of an OIDC token stand for. */
import { readFileSync } from "node:fs";

import { scopes } from "@strata/protocol/access";
import { Name } from "@strata/protocol/names";
import { parse } from "yaml";
import { z } from "zod";

const RULES_MAX = 1000;

const Rule = z
  .strictObject({
    /** Each claim has this value, or is a list that has it. Without any, the rule is for every token of the issuer. */
    when: z.record(z.string().min(1).max(256), z.string().max(1024)).default({}),
    scope: z.enum(scopes).exclude(["agent"]),
    tenant: Name.optional(),
    /** The claim that names the tenant. */
    tenantClaim: z.string().min(1).max(256).optional(),
  })
  .refine(({ tenant, tenantClaim }) => (tenant === undefined) !== (tenantClaim === undefined), {
    message: "say either tenant or tenantClaim",
  });
const Rules = z.array(Rule).min(1).max(RULES_MAX);

export type OidcRule = z.output<typeof Rule>;

/** @throws Error of the file system, the YAML or the schema */
export function readOidcRules(path: string): readonly OidcRule[] {
  return Rules.parse(parse(readFileSync(path, "utf8")));
}

export type Claims = Readonly<Record<string, unknown>>;
export type Granted = Pick<OidcRule, "scope"> & { readonly tenant: string };

/** What the first rule that fits says. Undefined when none does, or when the claim for the tenant names none. Pure. */
export function grantOf(rules: readonly OidcRule[], claims: Claims): Granted | undefined {
  const rule = rules.find(({ when }) =>
    Object.entries(when).every(([claim, wanted]) => hasValue(own(claims, claim), wanted)),
  );
  if (rule === undefined) return undefined;
  const { scope, tenant, tenantClaim } = rule;
  const named = Name.safeParse(tenant ?? own(claims, tenantClaim ?? ""));
  return named.success ? { scope, tenant: named.data } : undefined;
}

/** A claim is what the token says, never what every object has. */
function own(claims: Claims, name: string): unknown {
  return Object.hasOwn(claims, name) ? claims[name] : undefined;
}

function hasValue(claim: unknown, wanted: string): boolean {
  return Array.isArray(claim) ? claim.includes(wanted) : claim === wanted;
}
