/** What became of tries to get a certificate. */
import { retryAfterMs } from "../domain/certificates/due.ts";
import type { CheckedCertificate } from "../pki/read-certificate.ts";
import type { SecretBox } from "../pki/secret-box.ts";
import {
  type CertificateKey,
  type CertificateRow,
  getCertificate,
  saveCertificate,
} from "../store/certificates.ts";
import type { Unit } from "../store/unit.ts";
import { issuedFields } from "./certificates.ts";

/** A try at what the certificate was at this revision. */
export type Try = CertificateKey & { readonly revision: number };

const PROBLEM_LENGTH_MAX = 500;

/** Written down before the try, so that a controller that is killed and starts again does not try in a loop. False:
 * meanwhile it was changed or deleted. */
export function beginTry(unit: Unit, attempt: Try): boolean {
  const row = findTried(unit, attempt);
  if (row === undefined) return false;
  const failures = row.failures + 1;
  const nextTryAt = new Date(unit.nowMs + retryAfterMs(failures)).toISOString();
  saveCertificate(unit.sql, { ...row, failures, nextTryAt });
  return true;
}

/** One that was asked for otherwise meanwhile is dropped. */
export function noteIssued(
  unit: Unit,
  box: SecretBox,
  { issued, ...attempt }: Try & { readonly issued: CheckedCertificate },
): void {
  const row = findTried(unit, attempt);
  if (row === undefined) return;
  saveCertificate(unit.sql, {
    ...row,
    ...issuedFields({ box, key: attempt }, issued),
    issuedRevision: attempt.revision,
    failures: 0,
    problem: null,
    nextTryAt: null,
  });
  unit.emit({
    type: "certificate.issued",
    tenant: attempt.tenant,
    subject: attempt.name,
    message: `certificate ${attempt.name} was issued and ends at ${issued.facts.notAfter}`,
    data: { names: issued.facts.names, issuer: issued.facts.issuer },
  });
}

/** The same problem again is no event. */
export function noteProblem(
  unit: Unit,
  { problem, ...attempt }: Try & { readonly problem: string },
): void {
  const row = findTried(unit, attempt);
  const said = problem.slice(0, PROBLEM_LENGTH_MAX);
  if (row === undefined || row.problem === said) return;
  saveCertificate(unit.sql, { ...row, problem: said });
  unit.emit({
    type: "certificate.failed",
    tenant: attempt.tenant,
    subject: attempt.name,
    message: `certificate ${attempt.name} could not be had: ${said}`,
  });
}

function findTried(unit: Unit, { revision, ...key }: Try): CertificateRow | undefined {
  const row = getCertificate(unit.sql, key);
  return row?.revision === revision ? row : undefined;
}
