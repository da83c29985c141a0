import type { Certificate } from "@strata/protocol/api/certificates";

import { renewAtMs } from "../domain/certificates/due.ts";
import type { CertificateRow } from "../store/certificates.ts";

/** Without its key. */
export function showCertificate(row: CertificateRow, nowMs: number): Certificate {
  const { tenant, name, spec, facts, revision, createdAt, updatedAt } = row;
  const acme = spec.source === "acme" ? spec : undefined;
  return {
    name,
    tenant,
    source: spec.source,
    hosts: [...(spec.source === "given" ? (facts?.names ?? []) : spec.hosts)],
    directory: acme?.directory ?? null,
    contact: [...(acme?.contact ?? [])],
    externalAccount: acme?.externalAccount ?? null,
    status: {
      state: stateOf(row, nowMs),
      names: [...(facts?.names ?? [])],
      issuer: facts?.issuer ?? null,
      fingerprint: facts?.fingerprint ?? null,
      notBefore: facts?.notBefore ?? null,
      notAfter: facts?.notAfter ?? null,
      renewAt:
        facts === null || spec.source === "given" ? null : new Date(renewAtMs(facts)).toISOString(),
      message: row.problem,
      nextTryAt: row.nextTryAt,
    },
    revision,
    createdAt,
    updatedAt,
  };
}

function stateOf(
  { facts, problem }: CertificateRow,
  nowMs: number,
): Certificate["status"]["state"] {
  if (facts !== null && Date.parse(facts.notAfter) <= nowMs) return "expired";
  if (problem !== null) return "failing";
  return facts === null ? "pending" : "ready";
}
