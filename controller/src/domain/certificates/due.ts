/** When a certificate is asked for again. Pure. */
import type { CertificateFacts } from "./model.ts";

const RETRY_MS = 5 * 60_000;
const RETRY_MS_MAX = 12 * 3_600_000;

/** At two thirds of its life: what fails then has the last third to be mended. */
export function renewAtMs({ notBefore, notAfter }: CertificateFacts): number {
  const [from, to] = [Date.parse(notBefore), Date.parse(notAfter)];
  return from + Math.floor(((to - from) * 2) / 3);
}

/** How long to wait after so many tries: 5 minutes, doubled each time, 12 hours at most. Public servers allow five
 * failures of a host in an hour. */
export function retryAfterMs(tries: number): number {
  return Math.min(RETRY_MS_MAX, RETRY_MS * 2 ** Math.min(20, Math.max(0, tries - 1)));
}

export type Awaited = {
  readonly facts: CertificateFacts | null;
  readonly revision: number;
  readonly issuedRevision: number | null;
  readonly nextTryAt: string | null;
};

/** Whether it is time to ask for one: there is none, it was asked for otherwise, or it is to be renewed. */
export function isDue(certificate: Awaited, nowMs: number): boolean {
  const { facts, revision, issuedRevision, nextTryAt } = certificate;
  if (nextTryAt !== null && Date.parse(nextTryAt) > nowMs) return false;
  return facts === null || issuedRevision !== revision || renewAtMs(facts) <= nowMs;
}
