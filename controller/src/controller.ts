/** The controller as it runs: core, store of images, TLS, listeners and loops. */
import { mkdirSync } from "node:fs";
import { hostname } from "node:os";
import { join } from "node:path";

import { CONTROLLER_SERVER_NAME } from "@strata/protocol/agent/join-token";
import { createRegistry, type Registry } from "@strata/registry/create-registry";
import { createSqliteMetadataStore } from "@strata/registry/drivers/sqlite-metadata-store";
import type { MetadataStore } from "@strata/registry/metadata-store";
import { openBlobs } from "@strata/registry/open-blobs";
import { startSyncLoop } from "@strata/registry/serve/sync-loop";

import { ensureAdminToken } from "./access/admin-token.ts";
import { createStoreLogin } from "./access/registry-login.ts";
import { offerBackup } from "./backup/offer.ts";
import { finishSwap } from "./backup/swap.ts";
import { type Config, limits } from "./config.ts";
import { createServices, openState, type State, type World } from "./core.ts";
import { createApp } from "./http/app.ts";
import { type Listener, listen } from "./http/listen.ts";
import { globalAddresses } from "./http/own-address.ts";
import type { Services } from "./http/services.ts";
import { createUpgradeHandler } from "./http/upgrade.ts";
import type { CertificateLoop } from "./loops/certificates.ts";
import { announceCorruption, createFindQuota } from "./loops/keep-store.ts";
import { type Loop, startLoop } from "./loops/loop.ts";
import { paced } from "./loops/paced.ts";
import type { Provision } from "./loops/provision.ts";
import { createTrimAudit } from "./loops/trim-audit.ts";
import { type Authority, ensureAuthority, ensureIngressAuthority } from "./pki/authority.ts";
import { issueNodeCertificate } from "./pki/node-certificate.ts";
import { ensureServerCertificate, type ServerCertificate } from "./pki/server-certificate.ts";
import { openDatabase, type OpenDatabase } from "./store/database.ts";
import { lockData } from "./store/lock.ts";
import { createTicks } from "./ticks.ts";
import { openTracing } from "./tracing/tracing.ts";

export type Controller = {
  /** Of the main listener. */
  readonly port: number;
  /** Of the plain one on loopback; undefined where TLS is off. */
  readonly plainPort: number | undefined;
  /** Ends streams and polls, lets requests end, stops the loops, closes the databases. */
  readonly stop: () => Promise<void>;
};

const RENEWAL_CHECK_MS = 3_600_000;
const SWEEP_UPLOADS_MS = 5 * 60_000;

/** @throws ControllerError DATABASE_NEWER, SETTING_INVALID; the system's EADDRINUSE. */
export async function startController(world: World): Promise<Controller> {
  const { config, logger } = world;
  await using undo = new AsyncDisposableStack();
  // Others of this machine may pass through, to the agent's folders; ours below are closed.
  mkdirSync(config.dataDirectory, { recursive: true, mode: 0o755 });
  const lock = lockData(join(config.dataDirectory, "controller", "lock"));
  undo.defer(lock.close);
  finishSwap(config.dataDirectory);
  const database = openOrOffer(config);
  undo.defer(database.close);
  const tracing = await openTracing(config, world.clock);
  undo.defer(tracing.close);
  const state = openState({ ...world, tracing }, database);
  ensureAdminToken(state.store, join(config.dataDirectory, "admin-token"), world.random.newSecret);
  const authority = await ensureAuthority(caDirectory(config), world.clock.nowMs());
  const certificate = config.tls ? await currentCertificate(world, authority) : undefined;
  const storeDirectory = join(config.dataDirectory, "store");
  mkdirSync(storeDirectory, { recursive: true, mode: 0o700 });
  const metadata = createSqliteMetadataStore(join(storeDirectory, "store.db"), {
    onRecovered: (recovery) =>
      logger.warn(recovery, "the store's metadata was brought up to its journal"),
  });
  const registry = await openRegistry(world, state, metadata);
  undo.defer(registry.close);
  undo.use(startSyncLoop({ rules: config.mirrors, registry, logger }));

  let stopping = false;
  let port = config.port;
  const services = createServices(world, state, {
    images: registry,
    copyMetadata: metadata.copyTo,
    pki: {
      caPem: authority.certificatePem,
      ingress: await ensureIngressAuthority(caDirectory(config), world.clock.nowMs()),
      caFingerprint: authority.fingerprint,
      publicKeyPin: certificate?.publicKeyPin,
      joinSecret: authority.joinSecret,
      issueNodeCertificate: (request) => issueNodeCertificate(authority, request),
    },
    publicPort: () => port,
    isStopping: () => stopping,
  });
  undo.defer(services.history.close);
  const loops = startLoops(services, registry);
  undo.defer(async () => {
    await Promise.all(loops.map((loop) => loop.stop()));
  });
  const [reconcile, autoscale, provision, follow, certificates] = loops;
  if (reconcile !== undefined) state.setReconcileSoon(reconcile.wake);
  if (autoscale !== undefined) state.setAutoscaleWake(autoscale.wake);
  if (provision !== undefined) state.setProvisionWake(provision.wake);
  if (follow !== undefined) state.setFollowWake(follow.wake);
  if (certificates !== undefined) state.setCertificatesWake(certificates.wake);

  const listeners = await openListeners(services, { registry, certificate });
  const [main, plain] = listeners;
  port = main.port;
  for (const listener of listeners) undo.defer(listener.close);
  undo.defer(() => {
    stopping = true;
    services.rendezvous.close();
    state.nodeWakeups.close();
    state.eventWakeups.close();
    state.network.close();
  });
  if (certificate !== undefined) {
    const renewal = startRenewal(world, authority, main);
    undo.defer(renewal.stop);
  }
  logger.info({ port, plainPort: plain?.port, tls: config.tls }, "the controller listens");
  const parts = undo.move();
  return { port, plainPort: plain?.port, stop: () => parts.disposeAsync() };
}

/** @throws ControllerError DATABASE_CORRUPT with the command that restores the last backup */
function openOrOffer({ dataDirectory, backupDirectory }: Config): OpenDatabase {
  try {
    return openDatabase(join(dataDirectory, "controller", "strata.db"));
  } catch (error) {
    throw offerBackup(error, { dataDirectory, backupDirectory });
  }
}

function caDirectory({ dataDirectory }: Config): string {
  return join(dataDirectory, "controller", "ca");
}

async function currentCertificate(world: World, authority: Authority): Promise<ServerCertificate> {
  const { config, clock } = world;
  const host = config.advertise?.replace(/:\d{1,5}$/, "").replace(/^\[|\]$/g, "");
  const names = new Set([
    CONTROLLER_SERVER_NAME,
    "localhost",
    "127.0.0.1",
    "::1",
    hostname().toLowerCase(),
    ...globalAddresses(),
    ...(host === undefined ? [] : [host]),
  ]);
  return ensureServerCertificate({
    directory: caDirectory(config),
    authority,
    names: [...names],
    nowMs: clock.nowMs(),
  });
}

async function openRegistry(
  world: World,
  state: State,
  metadata: MetadataStore,
): Promise<Registry> {
  const { config, clock, random, logger } = world;
  const directory = join(config.dataDirectory, "store");
  const newId = (): string => random.newSecret().replaceAll("_", "-");
  const registry = createRegistry({
    ...(await openBlobs({ folder: directory, bucket: config.bucket, newId, logger })),
    metadata,
    ...createStoreLogin({ ...world, ...state, sql: state.store.sql }),
    mirrors: config.mirrors,
    quota: createFindQuota(state.store.sql),
    onTagMoved: state.followSoon,
    onCorrupt: (corrupt) => announceCorruption({ store: state.store, logger }, corrupt),
    clock: clock.nowMs,
    newId,
    logger,
  });
  // What was pushed after the backup has no row in a restored state.
  if (state.epochs.isConfirmed()) await registry.sweepBlobs();
  return registry;
}

/** The first five are the reconcile loop, the two levels of the autoscaler, the one that follows tags, and the one of
 * certificates. */
function startLoops(services: Services, registry: Registry): readonly Loop[] {
  const { logger } = services;
  const ticks = createTicks(services);
  return [
    startReconcile(services, ticks.reconcile),
    startLoop({
      name: "autoscale",
      tick: ticks.autoscale,
      intervalMs: limits.autoscaleEveryMs,
      logger,
    }),
    startProvision(services, ticks.provision),
    startLoop({
      name: "follow",
      tick: async () => {
        await ticks.follow();
        return false;
      },
      intervalMs: limits.followEveryMs,
      logger,
    }),
    startCertificates(services, ticks.certificates),
    startPoll(services),
    startLoop({
      name: "expire-nodes",
      tick: () => {
        ticks.expireNodes();
        return false;
      },
      intervalMs: limits.expireEveryMs,
      logger,
    }),
    startLoop({
      name: "prefetch",
      tick: () => {
        ticks.prefetch();
        return false;
      },
      intervalMs: limits.prefetchEveryMs,
      logger,
    }),
    startLoop({
      name: "record-metrics",
      tick: () => {
        ticks.recordMetrics();
        return false;
      },
      intervalMs: limits.recordMetricsEveryMs,
      logger,
    }),
    startLoop({
      name: "sweep-uploads",
      tick: async () => {
        await registry.sweepUploads();
        return false;
      },
      intervalMs: SWEEP_UPLOADS_MS,
      logger,
    }),
    ...startUpkeep(services),
  ];
}

function startTrimAudit({ store, config, clock, logger }: Services): Loop {
  return startLoop({
    name: "trim-audit",
    tick: createTrimAudit({ sql: store.sql, days: config.auditDays, nowMs: clock.nowMs }),
    intervalMs: limits.trimAuditEveryMs,
    logger,
  });
}

function startPoll({ external, logger }: Services): Loop {
  const loop = startLoop({
    name: "poll-metrics",
    tick: () => {
      external.poll();
      return false;
    },
    intervalMs: limits.pollMetricsEveryMs,
    logger,
  });
  return {
    wake: loop.wake,
    stop: async () => {
      await loop.stop();
      await external.close();
    },
  };
}

/** An order that is under way at the end is given up. */
function startCertificates({ logger }: Services, { tick, close }: CertificateLoop): Loop {
  const loop = startLoop({
    name: "certificates",
    tick,
    intervalMs: limits.certificatesEveryMs,
    logger,
  });
  return {
    wake: loop.wake,
    stop: async () => {
      await loop.stop();
      await close();
    },
  };
}

function startReconcile(
  { clock, logger, provisionSoon, takeUrgency }: Services,
  reconcile: () => boolean,
): Loop {
  const tick = (): number => {
    const more = reconcile();
    // Whatever made it look may concern level 2 as well.
    provisionSoon();
    return more ? 0 : limits.reconcileEveryMs;
  };
  return startLoop({
    name: "reconcile",
    // Reports of a thousand nodes wake it all the time; half of its time is theirs.
    tick: paced(tick, {
      monotonicMs: clock.monotonicMs,
      restFactor: 1,
      isUrgent: takeUrgency,
    }),
    intervalMs: limits.reconcileEveryMs,
    logger,
  });
}

function startProvision({ clock, logger }: Services, provision: Provision): Loop {
  const loop = startLoop({
    name: "provision",
    tick: paced(provision.tick, { monotonicMs: clock.monotonicMs, restFactor: 4 }),
    intervalMs: limits.provisionEveryMs,
    logger,
  });
  return {
    wake: loop.wake,
    stop: async () => {
      await loop.stop();
      await provision.stop();
    },
  };
}

const SCRUB_EVERY_MS = 60_000;
/** From the end of all blobs to the next begin. */
const SCRUB_REST_MS = 24 * 3_600_000;

/** The first collection comes one interval after the start, so that a restart in a loop collects nothing. */
function startUpkeep(services: Services): readonly Loop[] {
  const { storeKeeper, epochs, config, clock, logger } = services;
  const { storeCollectEveryMs, storeGraceMs, storeScrubRate } = config;
  const stopping = new AbortController();
  const { signal } = stopping;
  let isFirst = true;
  const collect = startLoop({
    name: "collect-garbage",
    tick: async () => {
      if (!isFirst && epochs.isConfirmed())
        await storeKeeper.collect({ dryRun: false, graceMs: storeGraceMs, signal });
      isFirst = false;
      return false;
    },
    intervalMs: storeCollectEveryMs,
    logger,
  });
  const turn = { durationMs: limits.storeScrubMs, bytesPerSecondMax: storeScrubRate, signal };
  let restUntilMs = 0;
  const scrub = startLoop({
    name: "scrub",
    tick: async () => {
      if (storeScrubRate === 0 || clock.monotonicMs() < restUntilMs) return false;
      const { complete } = await storeKeeper.scrub(turn);
      if (complete) restUntilMs = clock.monotonicMs() + SCRUB_REST_MS;
      return false;
    },
    intervalMs: SCRUB_EVERY_MS,
    logger,
  });
  const upkeep = [collect, scrub].map((loop) => ({
    wake: loop.wake,
    stop: async () => {
      stopping.abort();
      await loop.stop();
    },
  }));
  return [startTrimAudit(services), ...upkeep, startBackups(services)];
}

/** A backup that is under way at the end is given up. */
function startBackups({ backupSchedule, logger }: Services): Loop {
  const stopping = new AbortController();
  const loop = startLoop({
    name: "backup",
    tick: () => backupSchedule.tick(stopping.signal),
    intervalMs: limits.backupLookEveryMs,
    logger,
  });
  return {
    wake: loop.wake,
    stop: async () => {
      stopping.abort();
      await loop.stop();
    },
  };
}

type Doors = { readonly registry: Registry; readonly certificate: ServerCertificate | undefined };

async function openListeners(
  services: Services,
  { registry, certificate }: Doors,
): Promise<readonly [Listener, ...Listener[]]> {
  const { config } = services;
  const { app } = createApp(services, registry.app);
  const door = { fetch: app.fetch, onUpgrade: createUpgradeHandler(services) };
  const main = await listen({
    ...door,
    certificate,
    port: config.port,
    host: config.listenAddress,
  });
  if (!config.tls) return [main];
  try {
    return [main, await listen({ ...door, port: config.plainPort, host: "127.0.0.1" })];
  } catch (error) {
    await main.close();
    throw error;
  }
}

/** The certificate is renewed in time, and when the machine gets another address. */
function startRenewal(world: World, authority: Authority, main: Listener): Loop {
  return startLoop({
    name: "renew-certificate",
    tick: async () => {
      main.setCertificate(await currentCertificate(world, authority));
      return false;
    },
    intervalMs: RENEWAL_CHECK_MS,
    logger: world.logger,
  });
}
