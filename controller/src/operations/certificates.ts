/** Certificates as their tenant wishes for them. */
import { createHash } from "node:crypto";

import type { CertificateFileInput, CertificateInput } from "@strata/protocol/api/certificates";
import type { z } from "zod";

import { retryAfterMs } from "../domain/certificates/due.ts";
import type { CertificateSpec } from "../domain/certificates/model.ts";
import { ControllerError } from "../errors.ts";
import { type CheckedCertificate, readCertificate } from "../pki/read-certificate.ts";
import type { SecretBox } from "../pki/secret-box.ts";
import {
  type CertificateKey,
  type CertificateRow,
  countCertificates,
  deleteCertificate,
  getCertificate,
  saveCertificate,
} from "../store/certificates.ts";
import type { Unit } from "../store/unit.ts";
import { requireTenant } from "./tenants.ts";
import {
  type Outcome,
  type Precondition,
  requireFound,
  requirePrecondition,
  upsert,
} from "./upsert.ts";

export type CertificateContext = {
  readonly box: SecretBox;
  /** URLs of ACME servers that tenants may name; the first one is taken where none is named. */
  readonly directories: readonly string[];
};

export type PutCertificate = CertificateKey & {
  readonly input: z.output<typeof CertificateInput> | z.output<typeof CertificateFileInput>;
  readonly precondition?: Precondition;
};

/** Of one tenant. */
const CERTIFICATES_MAX = 1000;
const RETRY_CHANGED_MS = 60_000;

/** The host names are looked at when it is issued and shown, so that routes and certificates may come in any order. A
 * present certificate stays until the one that was now asked for is there.
 * @throws ControllerError CERTIFICATE_INVALID, ACME_DIRECTORY_UNKNOWN, QUOTA_EXCEEDED, REFERENCE_UNKNOWN */
export function putCertificate(
  unit: Unit,
  { box, directories }: CertificateContext,
  { tenant, name, input, precondition }: PutCertificate,
): Outcome<CertificateRow> {
  requireTenant(unit, tenant);
  const current = getCertificate(unit.sql, { tenant, name });
  if (current === undefined) requireRoom(unit, tenant);
  const given = input.source === "given" ? readCertificate(input, unit.nowMs) : undefined;
  const spec = given === undefined ? toSpec(input, directories) : specOfGiven(given);
  return upsert(unit, {
    kind: "certificate",
    name,
    tenant,
    current,
    fields: { spec },
    precondition,
    toRow: (fields, stored): CertificateRow => ({
      tenant,
      name,
      chain: null,
      sealedKey: null,
      facts: null,
      issuedRevision: null,
      ...current,
      ...(given === undefined ? {} : issuedFields({ box, key: { tenant, name } }, given)),
      failures: 0,
      problem: null,
      nextTryAt: given === undefined ? nextTry(current) : null,
      ...fields,
      ...stored,
    }),
    save: (row) => saveCertificate(unit.sql, row),
  });
}

/** Hosts that it covered get another one. */
export function removeCertificate(
  unit: Unit,
  { precondition, ...key }: CertificateKey & { readonly precondition?: Precondition },
): void {
  const row = requireFound(getCertificate(unit.sql, key), { kind: "certificate", name: key.name });
  requirePrecondition(precondition, row, `certificate ${key.name}`);
  deleteCertificate(unit.sql, key);
  unit.emit({
    type: "certificate.deleted",
    tenant: key.tenant,
    subject: key.name,
    message: `certificate ${key.name} was deleted`,
  });
}

/** What is stored of a certificate that is there. */
export function issuedFields(
  { box, key: { tenant, name } }: { readonly box: SecretBox; readonly key: CertificateKey },
  { chain, key, facts }: CheckedCertificate,
): Pick<CertificateRow, "chain" | "sealedKey" | "facts"> {
  return { chain, facts, sealedKey: box.seal(keyOwner({ tenant, name }), Buffer.from(key)) };
}

/** Under a name that no secret can have. */
export function keyOwner({ tenant, name }: CertificateKey): Parameters<SecretBox["seal"]>[0] {
  return { tenant, name: `certificate/${name}`, version: 1 };
}

/** A minute after the last try: one that is changed again and again is not tried each time. */
function nextTry(current: CertificateRow | undefined): string | null {
  if (current === undefined || current.nextTryAt === null) return null;
  const triedAtMs = Date.parse(current.nextTryAt) - retryAfterMs(current.failures);
  return new Date(triedAtMs + RETRY_CHANGED_MS).toISOString();
}

function requireRoom(unit: Unit, tenant: string): void {
  if (countCertificates(unit.sql, tenant) < CERTIFICATES_MAX) return;
  throw new ControllerError(
    "QUOTA_EXCEEDED",
    `tenant ${tenant} has ${CERTIFICATES_MAX} certificates`,
    {
      hint: "delete some that are not needed any more",
    },
  );
}

function specOfGiven({ chain }: CheckedCertificate): CertificateSpec {
  return { source: "given", chainDigest: createHash("sha256").update(chain).digest("hex") };
}

function toSpec(input: PutCertificate["input"], directories: readonly string[]): CertificateSpec {
  if (input.source === "given") throw new Error("a given certificate is read, not asked for");
  if (input.source === "internal") return { source: "internal", hosts: [...new Set(input.hosts)] };
  const { hosts, contact, externalAccount, directory = directories[0] } = input;
  if (directory === undefined || !directories.includes(directory)) {
    throw new ControllerError(
      "ACME_DIRECTORY_UNKNOWN",
      `the controller asks no ACME server at ${directory ?? "all"}`,
      {
        hint: `choose one of ${directories.join(", ") || "none"}, or have the operator add it to STRATA_ACME_DIRECTORIES`,
      },
    );
  }
  return {
    source: "acme",
    hosts: [...new Set(hosts)],
    directory,
    contact,
    ...(externalAccount && { externalAccount }),
  };
}
