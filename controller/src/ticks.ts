/** Single ticks of the loops, without their timers. */
import { join } from "node:path";

import { hashSecret } from "./access/secret.ts";
import { limits } from "./config.ts";
import { beatIntervalMs } from "./domain/node.ts";
import { advertisedUrl } from "./http/own-address.ts";
import { forgetNodeInMemory, type Services } from "./http/services.ts";
import { createAutoscale } from "./loops/autoscale.ts";
import type { CertificateLoop } from "./loops/certificates.ts";
import { createExpireNodes } from "./loops/expire-nodes.ts";
import { createFollow } from "./loops/follow.ts";
import { createJobs } from "./loops/jobs.ts";
import { createFindPrefetch } from "./loops/prefetch.ts";
import { createProviderBook } from "./loops/provision-providers.ts";
import { createProvision, type Provision } from "./loops/provision.ts";
import { createReconcile } from "./loops/reconcile.ts";
import { createRecordMetrics } from "./loops/record-metrics.ts";
import { keepRelations } from "./loops/relations.ts";
import type { SnapshotOptions } from "./loops/snapshot.ts";
import { keepVolumes } from "./loops/volumes.ts";
import { whenChanged } from "./loops/when-changed.ts";
import { createCertificates } from "./open-network.ts";
import { adoptVolumes } from "./operations/volumes.ts";
import { getOrSetMeta } from "./store/meta.ts";
import { countNodes } from "./store/nodes.ts";

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

function createPrefetch(services: Services, now: () => SnapshotOptions): () => void {
  const { store, config, clock, peers, prefetch } = services;
  const find = createFindPrefetch(store.sql, { cpuOvercommit: config.cpuOvercommit, peers });
  return whenChanged(() => prefetch.replace(find(now())), {
    sql: store.sql,
    monotonicMs: clock.monotonicMs,
    restMsMax: limits.prefetchAtLeastEveryMs,
  });
}

/** By the clock on the wall, of what is known by the one that never jumps. */
function lastSeenOf({ presence, clock }: Services): (nodeId: string) => number | undefined {
  return (nodeId) => {
    const heardAtMs = presence.heardAtMs(nodeId);
    return heardAtMs && clock.nowMs() - (clock.monotonicMs() - heardAtMs);
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
    prefetch: timed("prefetch", createPrefetch(services, now)),
    autoscale: deciding("autoscale", createLevelOne(services), false),
    certificates: createCertificates(services, services.certificatesSoon),
    recordMetrics: timed(
      "record-metrics",
      createRecordMetrics({
        sql: store.sql,
        history: services.history,
        samples: services.samples,
        traffic: services.network.traffic,
        beatIntervalMs: beatMs,
        nowMs: clock.nowMs,
      }),
    ),
    expireNodes: deciding(
      "expire-nodes",
      createExpireNodes({
        store,
        silentMs,
        lastSeenMs: lastSeenOf(services),
        beatIntervalMs: beatMs,
        isHeld: services.isHeld,
        nowMs: clock.nowMs,
      }),
      undefined,
    ),
  };
}
