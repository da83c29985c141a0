/** The controller without sockets, files of its own and timers: state and services. */
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
import { readCredential } from "./access/secret.ts";
import { createBackups } from "./backup/backups.ts";
import { createSchedule } from "./backup/schedule.ts";
import { type Config, limits } from "./config.ts";
import { createUsageBook } from "./domain/autoscale/usage-book.ts";
import type { Clock, Randomness } from "./domain/clock.ts";
import { isMassLoss } from "./domain/node.ts";
import { createPeerBook } from "./domain/peer-book.ts";
import { createPresenceBook, type PresenceBook, START_GRACE_MS } from "./domain/presence.ts";
import { createReportOrder } from "./domain/report.ts";
import { createHistory } from "./history/history.ts";
import type { Services } from "./http/services.ts";
import { createTelemetry, type Telemetry } from "./http/telemetry.ts";
import { createDeltaBook } from "./images/deltas.ts";
import { createExternalMetrics } from "./loops/external-metrics.ts";
import type { FollowedImages } from "./loops/follow.ts";
import { createStoreKeeper, type KeptRegistry } from "./loops/keep-store.ts";
import type { Network } from "./loops/network.ts";
import { createPrefetchBook } from "./loops/prefetch.ts";
import type { OpenProvider } from "./loops/provision-providers.ts";
import { createReportQueue } from "./loops/report-queue.ts";
import { createSampleBeats } from "./loops/sample-beats.ts";
import { createLoopWake, createWakeups, type Wakeups } from "./loops/wakeups.ts";
import { concernsCertificates, openNetwork } from "./open-network.ts";
import { createEpochBook, type EpochBook } from "./operations/epoch.ts";
import { numberServices } from "./operations/service-numbers.ts";
import { ensureTenants } from "./operations/tenants.ts";
import { createSecretBox, type SecretBox } from "./pki/secret-box.ts";
import { createProvider } from "./providers/create-provider.ts";
import type { OpenDatabase } from "./store/database.ts";
import { getOrSetMeta } from "./store/meta.ts";
import { bumpAssignmentRevision, listNodes } from "./store/nodes.ts";
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
  readonly reconcileNow: () => void;
  /** Whether `reconcileNow` was called since this was asked last. */
  readonly takeUrgency: () => boolean;
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
    reconcileNow: reconcile.now,
    takeUrgency: reconcile.takeUrgency,
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
    reports: createReportQueue(store),
    samples: new Map(),
    usage: createUsageBook(state.network.traffic),
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
