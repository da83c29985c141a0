/** The controller without sockets, files of its own and timers: state, services and single ticks. */
import { join } from "node:path";

import type { Logger } from "pino";

import { type Auditor, createAuditor } from "./access/audit.ts";
import {
  type Authenticate,
  createAuthenticate,
  createFindPrincipal,
  type FindPrincipal,
} from "./access/authenticate.ts";
import { createGate, type Gate } from "./access/gate.ts";
import { createOidc, withOidc } from "./access/oidc.ts";
import { hashSecret, readCredential } from "./access/secret.ts";
import { createBackups } from "./backup/backups.ts";
import { createSchedule } from "./backup/schedule.ts";
import { type Config, limits } from "./config.ts";
import { createUsageBook } from "./domain/autoscale/usage-book.ts";
import type { Clock, Randomness } from "./domain/clock.ts";
import { beatIntervalMs, isMassLoss } from "./domain/node.ts";
import { createPeerBook } from "./domain/peer-book.ts";
import { createPresenceBook, type PresenceBook, START_GRACE_MS } from "./domain/presence.ts";
import { createReportOrder } from "./domain/report.ts";
import { createHistory } from "./history/history.ts";
import { advertisedUrl } from "./http/own-address.ts";
import { forgetNodeInMemory, type Services } from "./http/services.ts";
import { createTelemetry, type Telemetry } from "./http/telemetry.ts";
import { createDeltaBook } from "./images/deltas.ts";
import { createAutoscale } from "./loops/autoscale.ts";
import type { CertificateLoop } from "./loops/certificates.ts";
import { createExpireNodes } from "./loops/expire-nodes.ts";
import { createExternalMetrics } from "./loops/external-metrics.ts";
import { createFollow, type FollowedImages } from "./loops/follow.ts";
import { createJobs } from "./loops/jobs.ts";
import { createStoreKeeper, type KeptRegistry } from "./loops/keep-store.ts";
import type { Network } from "./loops/network.ts";
import { createPrefetchBook, findPrefetch } from "./loops/prefetch.ts";
import { createProviderBook, type OpenProvider } from "./loops/provision-providers.ts";
import { createProvision, type Provision } from "./loops/provision.ts";
import { createReconcile } from "./loops/reconcile.ts";
import { createRecordMetrics } from "./loops/record-metrics.ts";
import { keepRelations } from "./loops/relations.ts";
import { createSampleBeats } from "./loops/sample-beats.ts";
import type { SnapshotOptions } from "./loops/snapshot.ts";
import { keepVolumes } from "./loops/volumes.ts";
import { createLoopWake, createWakeups, type Wakeups } from "./loops/wakeups.ts";
import { whenChanged } from "./loops/when-changed.ts";
import { concernsCertificates, createCertificates, openNetwork } from "./open-network.ts";
import { createEpochBook, type EpochBook } from "./operations/epoch.ts";
import { numberServices } from "./operations/service-numbers.ts";
import { ensureTenants } from "./operations/tenants.ts";
import { adoptVolumes } from "./operations/volumes.ts";
import { createSecretBox, type SecretBox } from "./pki/secret-box.ts";
import { createProvider } from "./providers/create-provider.ts";
import type { OpenDatabase } from "./store/database.ts";
import { getOrSetMeta } from "./store/meta.ts";
import { bumpAssignmentRevision, countNodes, listNodes } from "./store/nodes.ts";
import { listProcessOwners } from "./store/process-owners.ts";
import { createStore, type Store } from "./store/unit.ts";
import { createRendezvous } from "./streams/rendezvous.ts";
import { noTracing, type Tracing } from "./tracing/tracing.ts";

/** Everything ambient, handed in by main.ts or a test. */
export type World = {
  readonly config: Config;
  readonly clock: Clock;
  readonly random: Randomness;
  readonly logger: Logger;
  /** How long after a start nobody is found silent; for tests [60 s]. */
  readonly startGraceMs?: number;
  /** Left out, nothing is traced. */
  readonly tracing?: Tracing;
};

export type State = {
  readonly store: Store;
  readonly epoch: string;
  readonly epochs: EpochBook;
  readonly copyDatabase: (file: string) => Promise<void>;
  readonly authenticate: Authenticate;
  readonly findPrincipal: FindPrincipal;
  readonly gate: Gate;
  readonly auditor: Auditor;
  readonly presence: PresenceBook;
  readonly nodeWakeups: Wakeups;
  readonly eventWakeups: Wakeups;
  readonly network: Network;
  readonly secretBox: SecretBox;
  readonly telemetry: Telemetry;
  readonly tracing: Tracing;
  /** The loop is started last; until then nobody is woken. */
  readonly setReconcileSoon: (wake: () => void) => void;
  readonly reconcileSoon: () => void;
  readonly setProvisionWake: (wake: () => void) => void;
  readonly provisionSoon: () => void;
  readonly setFollowWake: (wake: () => void) => void;
  /** Asks whether followers have another image to run. */
  readonly followSoon: () => void;
  readonly setCertificatesWake: (wake: () => void) => void;
  /** Asks whether a certificate is wanted. */
  readonly certificatesSoon: () => void;
  readonly setAutoscaleWake: (wake: () => void) => void;
  readonly autoscaleSoon: (subscriptionId: string) => void;
  readonly posted: Set<string>;
};

const EVENT_FOLLOWERS_MAX = 2000;

export function openState(world: World, database: OpenDatabase): State {
  const { clock, random, config, tracing = noTracing } = world;
  const nodeWakeups = createWakeups(limits.pollsPerNodeMax);
  const eventWakeups = createWakeups(EVENT_FOLLOWERS_MAX);
  const [reconcile, provision, autoscale] = [createLoopWake(), createLoopWake(), createLoopWake()];
  const [follow, certificates] = [createLoopWake(), createLoopWake()];
  const telemetry = createTelemetry();
  const posted = new Set<string>();
  const auditor = createAuditor();
  const secretBox = createSecretBox(join(config.dataDirectory, "controller", "secrets.key"));
  const network = openNetwork({ ...world, secretBox }, database, reconcile.soon);
  const store = createStore({
    database,
    nowMs: clock.nowMs,
    newId: random.newId,
    eventsMax: config.eventsMax,
    beforeCommit: auditor.beforeCommit,
    onCommit: (changes) => {
      for (const nodeId of changes.nodes) nodeWakeups.wake(nodeId);
      if (changes.events.length > 0) eventWakeups.wake("events");
      if (changes.events.some(concernsCertificates)) certificates.soon();
      network.committed();
      telemetry.committed(changes);
      tracing.committed(changes, (id) => listProcessOwners(store.sql, [id])[0]?.alias);
    },
  });
  ensureTenants(store);
  numberServices(store);
  const epoch = getOrSetMeta(store.sql, "epoch", random.newSecret());
  const epochs = createEpochBook(store, epoch);
  const credentials = createCredentials(world, store.sql, epochs);
  return {
    store,
    epoch,
    epochs,
    copyDatabase: database.copyTo,
    ...credentials,
    gate: createGate({
      authenticate: credentials.authenticate,
      monotonicMs: clock.monotonicMs,
      ratePerMinute: config.ratePerMinute,
    }),
    auditor,
    presence: createPresenceBook(clock.monotonicMs(), world.startGraceMs ?? START_GRACE_MS),
    nodeWakeups,
    eventWakeups,
    network,
    secretBox,
    telemetry,
    tracing,
    setReconcileSoon: reconcile.set,
    reconcileSoon: reconcile.soon,
    setProvisionWake: provision.set,
    provisionSoon: provision.soon,
    setFollowWake: follow.set,
    followSoon: follow.soon,
    setCertificatesWake: certificates.set,
    certificatesSoon: certificates.soon,
    setAutoscaleWake: autoscale.set,
    autoscaleSoon: (subscriptionId) => {
      posted.add(subscriptionId);
      autoscale.soon();
    },
    posted,
  };
}

/** Our own tokens, the credentials of nodes and, where there is an issuer, its tokens. */
function createCredentials(
  { config, clock }: World,
  sql: Store["sql"],
  epochs: EpochBook,
): Pick<State, "authenticate" | "findPrincipal"> {
  const own = notingStrangers(createAuthenticate(sql, clock), { epochs, clock });
  const find = createFindPrincipal(sql, clock);
  if (config.oidc === undefined) return { authenticate: own, findPrincipal: find };
  const oidc = createOidc({ settings: config.oidc, sql, clock });
  return {
    authenticate: withOidc(own, oidc),
    findPrincipal: (id) => find(id) ?? oidc.find(id),
  };
}

/** A restored state shows which nodes it does not know. */
function notingStrangers(
  authenticate: Authenticate,
  { epochs, clock }: { readonly epochs: EpochBook; readonly clock: Clock },
): Authenticate {
  return (text) => {
    const principal = authenticate(text);
    if (principal !== undefined || epochs.isConfirmed()) return principal;
    const claimed = readCredential(text)?.id;
    if (claimed?.startsWith("node-") === true) epochs.noteStranger(claimed, clock.nowMs());
    return undefined;
  };
}

export type CoreOptions = {
  readonly images: FollowedImages & KeptRegistry;
  /** Copies the store's metadata to a new file while they are used. */
  readonly copyMetadata: (file: string) => Promise<void>;
  readonly pki: Services["pki"];
  readonly publicPort: () => number;
  readonly isStopping: () => boolean;
  /** Left out, real ones. */
  readonly openProvider?: OpenProvider;
};

type BackupServices = Pick<Services, "backups" | "backupSchedule">;

function createBackupServices(
  { config, clock, logger }: World,
  { store, copyDatabase, telemetry }: State,
  { copyMetadata }: CoreOptions,
): BackupServices {
  const { dataDirectory } = config;
  const backups = createBackups({
    dataDirectory,
    copyDatabase,
    copyMetadata,
    hasBucket: config.bucket !== undefined,
    nowMs: clock.nowMs,
  });
  const backupSchedule = createSchedule({
    backups,
    store,
    directory: config.backupDirectory,
    everyMs: config.backupEveryMs,
    keep: config.backupKeep,
    blobs: config.backupBlobs,
    recipients: config.backupRecipients,
    nowMs: clock.nowMs,
    logger,
    onDone: telemetry.backupDone,
  });
  return { backups, backupSchedule };
}

export function createServices(world: World, state: State, options: CoreOptions): Services {
  const { store, presence, nodeWakeups } = state;
  const { clock, random } = world;
  return {
    ...world,
    ...state,
    ...options,
    openProvider: options.openProvider ?? createProvider,
    storeKeeper: createStoreKeeper({
      store,
      registry: options.images,
      requireConfirmed: state.epochs.requireConfirmed,
      nowMs: clock.nowMs,
    }),
    deltas: createDeltaBook({
      directory: join(world.config.dataDirectory, "controller", "deltas"),
      images: options.images,
      blobBytesMax: world.config.deltaBlobBytesMax,
      nowMs: clock.nowMs,
    }),
    bootId: random.newId(),
    peers: createPeerBook(),
    prefetch: createPrefetchBook((nodeId) => {
      bumpAssignmentRevision(store.sql, nodeId);
      nodeWakeups.wake(nodeId);
    }),
    reportOrder: createReportOrder(),
    samples: new Map(),
    usage: createUsageBook(),
    history: createHistory({
      path: join(world.config.dataDirectory, "controller", "metrics.db"),
      bytesMax: world.config.metricsBytesMax,
      logger: world.logger,
    }),
    beats: createSampleBeats(world.config.reportsPerSecond),
    external: createExternalMetrics({
      sql: store.sql,
      sources: world.config.prometheus,
      nowMs: clock.nowMs,
      logger: world.logger,
    }),
    ...createBackupServices(world, state, options),
    rendezvous: createRendezvous({
      newId: random.newId,
      // A new revision, so that an answer lost on the way is asked for again.
      callNode: (nodeId) => {
        bumpAssignmentRevision(store.sql, nodeId);
        nodeWakeups.wake(nodeId);
      },
      openMsMax: limits.streamOpenMsMax,
      pendingPerNodeMax: limits.streamsPendingPerNodeMax,
    }),
    isHeld: () =>
      isMassLoss(
        listNodes(store.sql).map((node) => ({
          away: node.presence === "away",
          silentMs: presence.silentMs(node.id, clock.monotonicMs()),
        })),
      ),
  };
}

/** One tick of each loop. */
export type Ticks = {
  /** True when there is more to do at once. */
  readonly reconcile: () => boolean;
  readonly expireNodes: () => void;
  /** Looks what nodes will probably run soon. */
  readonly prefetch: () => void;
  /** Takes followers to the images that the store has for them. */
  readonly follow: () => Promise<void>;
  /** Writes the metrics history. */
  readonly recordMetrics: () => void;
  /** Level 2. */
  readonly provision: Provision;
  /** Level 1. True when there is more to do at once. */
  readonly autoscale: () => boolean;
  readonly certificates: CertificateLoop;
};

/** Level 1, ready to be ticked. */
function createLevelOne(services: Services): () => boolean {
  const { store, usage, beats, external, posted, clock, reconcileSoon } = services;
  return createAutoscale({
    store,
    usage,
    beats,
    external: external.readings,
    takePosted: () => {
      const taken = new Set(posted);
      posted.clear();
      return taken;
    },
    nowMs: clock.nowMs,
    onChange: reconcileSoon,
  });
}

/** Level 2, ready to be ticked. */
function createLevelTwo(
  services: Services,
  { now, moving }: { readonly now: () => SnapshotOptions; readonly moving: Set<string> },
): Provision {
  const { store, config, clock, random, pki, telemetry, logger } = services;
  const controllerId = `${random.newId()}${random.newId()}`;
  return createProvision({
    store,
    providers: createProviderBook(services.openProvider, {
      controllerId: getOrSetMeta(store.sql, "controllerId", controllerId),
      vmFolder: join(config.dataDirectory, "controller", "vms"),
    }),
    authority: pki,
    controllerUrl: () => advertisedUrl(services),
    epochs: {
      tags: () => services.epochs.all().map((epoch) => hashSecret(epoch).slice(0, 16)),
      isConfirmed: services.epochs.isConfirmed,
      noteUnknownVms: services.epochs.noteUnknownVms,
    },
    monotonicMs: clock.monotonicMs,
    logger,
    now,
    moving,
    cpuOvercommit: config.cpuOvercommit,
    isHeld: services.isHeld,
    onChange: services.reconcileSoon,
    onResult: () => {
      services.reconcileSoon();
      services.provisionSoon();
    },
    onNodeGone: (nodeId) => forgetNodeInMemory(services, nodeId),
    onCall: telemetry.providerCalled,
  });
}

type Timers = {
  readonly timed: <Result>(loop: string, tick: () => Result) => () => Result;
  /** As `timed`, but a restored state decides nothing before it is confirmed: `idle` is then the result. */
  readonly deciding: <Result>(loop: string, tick: () => Result, idle: Result) => () => Result;
};

function createTimers({ clock, telemetry, epochs }: Services): Timers {
  const timed: Timers["timed"] = (loop, tick) => () => {
    const startedMs = clock.monotonicMs();
    const result = tick();
    telemetry.tickDone(loop, (clock.monotonicMs() - startedMs) / 1000);
    return result;
  };
  return {
    timed,
    deciding: (loop, tick, idle) => timed(loop, () => (epochs.isConfirmed() ? tick() : idle)),
  };
}

/** Counts that follow others and runs of jobs come first: what they wish for is placed in the same tick. */
function createReconcileTick(services: Services, now: () => SnapshotOptions): () => boolean {
  const { store, config, clock, peers } = services;
  store.write(adoptVolumes);
  const runJobs = createJobs({ store, now, isHeld: services.isHeld });
  const reconcile = createReconcile({
    store,
    now,
    scheduling: { cpuOvercommit: config.cpuOvercommit, peers },
    startDeadlineMs: config.startDeadlineMs,
    actionsMax: limits.actionsPerTickMax,
    monotonicMs: clock.monotonicMs,
    sliceMs: limits.reconcileSliceMs,
  });
  return () => {
    keepRelations(store, clock.nowMs());
    keepVolumes(store);
    const isBusy = runJobs();
    return reconcile() || isBusy;
  };
}

export function createTicks(services: Services): Ticks {
  const { store, config, clock, presence } = services;
  const silentMs = (nodeId: string): number => presence.silentMs(nodeId, clock.monotonicMs());
  const beatMs = (): number => beatIntervalMs(countNodes(store.sql), config.reportsPerSecond);
  const { timed, deciding } = createTimers(services);
  const moving = new Set<string>();
  const startedMs = clock.nowMs();
  const now = (): SnapshotOptions => ({
    moving,
    nowMs: clock.nowMs(),
    startedMs,
    silentMs,
    beatIntervalMs: beatMs(),
    usage: services.usage,
    isReleased: services.network.askReleased(),
  });
  const provision = createLevelTwo(services, { now, moving });
  return {
    provision: { ...provision, tick: timed("provision", provision.tick) },
    reconcile: deciding("reconcile", createReconcileTick(services, now), false),
    follow: deciding(
      "follow",
      createFollow({
        store,
        images: services.images,
        logger: services.logger,
        onChange: services.reconcileSoon,
      }),
      Promise.resolve(),
    ),
    prefetch: timed(
      "prefetch",
      whenChanged(
        () =>
          services.prefetch.replace(
            findPrefetch(store.sql, now(), { cpuOvercommit: config.cpuOvercommit }),
          ),
        {
          sql: store.sql,
          monotonicMs: clock.monotonicMs,
          restMsMax: limits.prefetchAtLeastEveryMs,
        },
      ),
    ),
    autoscale: deciding("autoscale", createLevelOne(services), false),
    certificates: createCertificates(services, services.certificatesSoon),
    recordMetrics: timed(
      "record-metrics",
      createRecordMetrics({
        sql: store.sql,
        history: services.history,
        samples: services.samples,
        beatIntervalMs: beatMs,
        nowMs: clock.nowMs,
      }),
    ),
    expireNodes: deciding(
      "expire-nodes",
      createExpireNodes({
        store,
        silentMs,
        lastSeenMs: (nodeId) => {
          const heardAtMs = presence.heardAtMs(nodeId);
          return heardAtMs && clock.nowMs() - (clock.monotonicMs() - heardAtMs);
        },
        beatIntervalMs: beatMs,
        isHeld: services.isHeld,
        nowMs: clock.nowMs,
      }),
      undefined,
    ),
  };
}
