/** Gets certificates and renews them in time: those of our CA at once, those of ACME servers outside of the tick, one
 * try at a time for each. */
import type { Logger } from "pino";

import { isWithin } from "../domain/certificates/cover.ts";
import { isDue } from "../domain/certificates/due.ts";
import type { CertificateSpec, HostWish } from "../domain/certificates/model.ts";
import { createRateLimiter } from "../domain/token-bucket.ts";
import { beginTry, noteIssued, noteProblem, type Try } from "../operations/issued-certificates.ts";
import type { Signer } from "../pki/authority.ts";
import { issueHostCertificate } from "../pki/host-certificate.ts";
import type { CheckedCertificate } from "../pki/read-certificate.ts";
import type { SecretBox } from "../pki/secret-box.ts";
import { deleteAllChallenges, listAwaited } from "../store/certificates.ts";
import type { Store } from "../store/unit.ts";
import { orderFor } from "./acme-orders.ts";
import { listHostWishes } from "./certificate-wishes.ts";
import { keepHostCertificates } from "./host-certificates.ts";
import type { Network } from "./network.ts";

export type CertificateLoopOptions = {
  readonly store: Store;
  readonly box: SecretBox;
  readonly authority: Signer;
  readonly network: Pick<Network, "revision" | "isCarriedOut">;
  /** STRATA_DOMAIN */
  readonly domain: string;
  readonly nowMs: () => number;
  readonly monotonicMs: () => number;
  readonly logger: Logger;
  /** A try is over. */
  readonly onDone: () => void;
};

export type CertificateLoop = {
  /** True when there is more to do at once. */
  readonly tick: () => Promise<boolean>;
  /** Kept when no try is under way, for tests and the end. */
  readonly idle: () => Promise<void>;
  /** Gives up what is under way. */
  readonly close: () => Promise<void>;
};

/** Orders under way at the same time; others wait for the next tick. */
const ORDERS_MAX = 8;
/** Of one account: public servers lock out who asks more. */
const ORDERS_PER_MINUTE = 5;
const ACCOUNTS_MAX = 10_000;

type Due = ReturnType<typeof listAwaited>[number];

export function createCertificateLoop(options: CertificateLoopOptions): CertificateLoop {
  const { store, domain, nowMs, monotonicMs } = options;
  store.write((unit) => deleteAllChallenges(unit.sql));
  const underWay = new Map<string, Promise<void>>();
  const stopping = new AbortController();
  const rate = createRateLimiter({ monotonicMs, keysMax: ACCOUNTS_MAX });
  const mayOrder = (due: Due, spec: CertificateSpec): boolean =>
    spec.source !== "acme" ||
    (!underWay.has(keyOf(due)) &&
      underWay.size < ORDERS_MAX &&
      rate.take(`${due.tenant} ${spec.directory}`, ORDERS_PER_MINUTE).isAllowed);
  const order = (due: Due, spec: Extract<CertificateSpec, { source: "acme" }>): void => {
    const work = tryTo(options, due, () =>
      orderFor(options, due, { spec, signal: stopping.signal }),
    );
    const settled = work
      .catch((error: unknown) => options.logger.error({ err: error }, "a try was not written down"))
      .finally(() => {
        underWay.delete(keyOf(due));
        options.onDone();
      });
    underWay.set(keyOf(due), settled);
  };
  return {
    tick: async () => {
      if (stopping.signal.aborted) return false;
      const wishes = listHostWishes(store.sql, domain);
      for (const due of listAwaited(store.sql).filter((one) => isDue(one, nowMs()))) {
        const { spec } = due;
        if (spec.source === "given") continue;
        const stranger = spec.hosts.find((host) => !isOwnHost(wishes, due.tenant, host));
        if (stranger !== undefined) refuseHost(store, due, stranger);
        else if (!mayOrder(due, spec)) continue;
        else if (spec.source === "acme") order(due, spec);
        else await tryTo(options, due, () => issueFor(options, spec.hosts));
      }
      return keepHostCertificates(options, { wishes, nowMs: nowMs() });
    },
    idle: async () => {
      await Promise.all(underWay.values());
    },
    close: async () => {
      stopping.abort();
      await Promise.all(underWay.values());
    },
  };
}

/** What went wrong is written down with the certificate. */
async function tryTo(
  { store, box, logger }: CertificateLoopOptions,
  { tenant, name, revision }: Due,
  get: () => Promise<CheckedCertificate>,
): Promise<void> {
  const attempt: Try = { tenant, name, revision };
  try {
    if (!store.write((unit) => beginTry(unit, attempt))) return;
    const issued = await get();
    store.write((unit) => noteIssued(unit, box, { ...attempt, issued }));
  } catch (error) {
    logger.warn({ err: error, tenant, certificate: name }, "a certificate could not be had");
    const problem = error instanceof Error ? error.message : "unknown";
    store.write((unit) => noteProblem(unit, { ...attempt, problem }));
  }
}

async function issueFor(
  { authority, nowMs }: CertificateLoopOptions,
  hosts: readonly string[],
): Promise<CheckedCertificate> {
  return issueHostCertificate(authority, { hosts, nowMs: nowMs() });
}

function refuseHost(store: Store, { tenant, name, revision }: Due, host: string): void {
  const problem = `${host} is a host of no route of tenant ${tenant}`;
  store.write((unit) => noteProblem(unit, { tenant, name, revision, problem }));
}

function isOwnHost(wishes: readonly HostWish[], tenant: string, host: string): boolean {
  return wishes.some((wish) => wish.tenant === tenant && isWithin(host, wish.host));
}

function keyOf({ tenant, name }: Due): string {
  return `${tenant}/${name}`;
}
