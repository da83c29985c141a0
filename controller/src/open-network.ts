import type { Services } from "./http/services.ts";
/** What nodes are told of the network, and the certificates that come with it. */
import { createCertificateLoop, type CertificateLoop } from "./loops/certificates.ts";
import { createIngressCertificates } from "./loops/ingress-certificates.ts";
import { createNetwork, type Network } from "./loops/network.ts";
import { listChallenges } from "./store/certificates.ts";
import type { OpenDatabase } from "./store/database.ts";
import type { CommittedEvent } from "./store/unit.ts";

type NetworkWorld = Pick<Services, "config" | "clock" | "random" | "logger" | "secretBox">;

export function openNetwork(
  { config, clock, random, logger, secretBox }: NetworkWorld,
  { sql }: OpenDatabase,
  onReleased: () => void,
): Network {
  const { domain, serviceNetwork } = config;
  const { nowMs, monotonicMs } = clock;
  const certificates = createIngressCertificates({ sql, box: secretBox, domain, nowMs, logger });
  return createNetwork({
    sql,
    boot: random.newId(),
    monotonicMs,
    nowMs,
    domain,
    serviceNetwork,
    extras: () => ({ certificates: [...certificates()], challenges: listChallenges(sql) }),
    onReleased,
  });
}

/** A restored state orders nothing before it is confirmed. */
export function createCertificates(services: Services, onDone: () => void): CertificateLoop {
  const { store, secretBox: box, pki, network, config, clock, logger, epochs } = services;
  const loop = createCertificateLoop({
    store,
    box,
    authority: pki.ingress,
    network,
    domain: config.domain,
    ...clock,
    logger,
    onDone,
  });
  return { ...loop, tick: async () => epochs.isConfirmed() && loop.tick() };
}

const kinds: ReadonlySet<string> = new Set(["certificate", "route", "secret", "tenant"]);

/** Whether a certificate may be wanted now, or be wanted no more. */
export function concernsCertificates({ type }: CommittedEvent): boolean {
  return kinds.has(type.split(".", 1)[0] ?? "") || type === "subscription.created";
}
