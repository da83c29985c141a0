/** The controller without sockets, files of its own and timers: state, services and single ticks. */
import type { Logger } from "pino";

import { type Authenticate, createAuthenticate } from "./access/authenticate.ts";
import { type Config, limits } from "./config.ts";
import type { Clock, Randomness } from "./domain/clock.ts";
import { beatIntervalMs, isMassLoss } from "./domain/node.ts";
import { createPresenceBook, type PresenceBook, START_GRACE_MS } from "./domain/presence.ts";
import { createReportOrder } from "./domain/report.ts";
import type { Services } from "./http/services.ts";
import { createTelemetry } from "./http/telemetry.ts";
import type { ImageSource } from "./images/inspect-image.ts";
import { createExpireNodes } from "./loops/expire-nodes.ts";
import { createStoreKeeper, type KeptRegistry } from "./loops/keep-store.ts";
import { reconcile } from "./loops/reconcile.ts";
import { createWakeups, type Wakeups } from "./loops/wakeups.ts";
import type { OpenDatabase } from "./store/database.ts";
import { getOrSetMeta } from "./store/meta.ts";
import { bumpAssignmentRevision, countNodes, listNodes } from "./store/nodes.ts";
import { createStore, type Store } from "./store/unit.ts";
import { createRendezvous } from "./streams/rendezvous.ts";

/** Everything ambient, handed in by main.ts or a test. */
export type World = {
  readonly config: Config;
  readonly clock: Clock;
  readonly random: Randomness;
  readonly logger: Logger;
  /** How long after a start nobody is found silent; for tests [60 s]. */
  readonly startGraceMs?: number;
};

export type State = {
  readonly store: Store;
  readonly epoch: string;
  readonly authenticate: Authenticate;
  readonly presence: PresenceBook;
  readonly nodeWakeups: Wakeups;
  readonly eventWakeups: Wakeups;
  /** The loop is started last; until then nobody is woken. */
  readonly setReconcileSoon: (wake: () => void) => void;
  readonly reconcileSoon: () => void;
};

const EVENT_FOLLOWERS_MAX = 2000;

export function openState(world: World, database: OpenDatabase): State {
  const { clock, random, config } = world;
  const nodeWakeups = createWakeups(limits.pollsPerNodeMax);
  const eventWakeups = createWakeups(EVENT_FOLLOWERS_MAX);
  let wakeReconcile = (): void => undefined;
  const store = createStore({
    database,
    nowMs: clock.nowMs,
    newId: random.newId,
    eventsMax: config.eventsMax,
    onCommit: ({ nodes, events }) => {
      for (const nodeId of nodes) nodeWakeups.wake(nodeId);
      if (events > 0) eventWakeups.wake("events");
    },
  });
  return {
    store,
    epoch: getOrSetMeta(store.sql, "epoch", random.newSecret()),
    authenticate: createAuthenticate(store.sql, clock),
    presence: createPresenceBook(clock.monotonicMs(), world.startGraceMs ?? START_GRACE_MS),
    nodeWakeups,
    eventWakeups,
    setReconcileSoon: (wake) => {
      wakeReconcile = wake;
    },
    reconcileSoon: () => wakeReconcile(),
  };
}

export type CoreOptions = {
  readonly images: ImageSource & KeptRegistry;
  readonly pki: Services["pki"];
  readonly publicPort: () => number;
  readonly isStopping: () => boolean;
};

export function createServices(world: World, state: State, options: CoreOptions): Services {
  const { store, presence, nodeWakeups } = state;
  const { clock, random } = world;
  return {
    ...world,
    ...state,
    ...options,
    storeKeeper: createStoreKeeper({ store, registry: options.images, nowMs: clock.nowMs }),
    reportOrder: createReportOrder(),
    samples: new Map(),
    telemetry: createTelemetry(),
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
};

export function createTicks(services: Services): Ticks {
  const { store, config, clock, presence, telemetry } = services;
  const silentMs = (nodeId: string): number => presence.silentMs(nodeId, clock.monotonicMs());
  const beatMs = (): number => beatIntervalMs(countNodes(store.sql), config.reportsPerSecond);
  const timed =
    <Result>(loop: string, tick: () => Result) =>
    (): Result => {
      const startedMs = clock.monotonicMs();
      const result = tick();
      telemetry.tickDone(loop, (clock.monotonicMs() - startedMs) / 1000);
      return result;
    };
  return {
    reconcile: timed("reconcile", () =>
      reconcile({
        store,
        now: () => ({ nowMs: clock.nowMs(), silentMs, beatIntervalMs: beatMs() }),
        scheduling: { cpuOvercommit: config.cpuOvercommit },
        startDeadlineMs: config.startDeadlineMs,
        actionsMax: limits.actionsPerTickMax,
      }),
    ),
    expireNodes: timed(
      "expire-nodes",
      createExpireNodes({
        store,
        silentMs,
        beatIntervalMs: beatMs,
        isHeld: services.isHeld,
        nowMs: clock.nowMs,
      }),
    ),
  };
}
