/** For which hosts ingresses need a certificate, and which one each is shown. */
import { DEFAULT_TENANT } from "../access/repository-owner.ts";
import { type Choice, chooseCertificates } from "../domain/certificates/choose.ts";
import type { HostWish } from "../domain/certificates/model.ts";
import { listTenantsWithHosts } from "../store/certificate-hosts.ts";
import { listHostCertificates, listIssued } from "../store/certificates.ts";
import type { Sql } from "../store/database.ts";
import { listRoutes } from "../store/routes.ts";

/** The domain itself comes first: its certificate is also shown to who names no host. */
export function listHostWishes(sql: Sql, domain: string): readonly HostWish[] {
  return [
    { tenant: DEFAULT_TENANT, host: domain },
    ...listTenantsWithHosts(sql).map((tenant) => ({ tenant, host: `*.${tenant}.${domain}` })),
    ...listRoutes(sql).flatMap(({ tenant, spec: { hosts = [], certificate } }) =>
      hosts.map((host) => ({ tenant, host, ...(certificate && { certificate }) })),
    ),
  ];
}

/** One for each host, in the order of the wishes. */
export function readChoices(
  sql: Sql,
  { wishes, nowMs }: { readonly wishes: readonly HostWish[]; readonly nowMs: number },
): readonly Choice[] {
  return chooseCertificates(wishes, {
    candidates: listIssued(sql),
    automatic: listHostCertificates(sql),
    nowMs,
  });
}
