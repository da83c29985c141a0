import process from "node:process";
import { parseArgs } from "node:util";

import type { Logger } from "pino";

import { DesiredState } from "../accept-assignments.ts";
import type { AgentConfig } from "../config.ts";
import { listRecords } from "../container/record.ts";
import { createVolumeRemover } from "../container/volume-remover.ts";
import { createControllerClient, createDispatcher } from "../controller-client.ts";
import { readStateFile } from "../durable-file.ts";
import { createQuietWork, giveBackCode, type QuietWork } from "../host/give-back.ts";
import { type Identity, readIdentity } from "../identity.ts";
import { readDiskShare } from "../image/layer-gc.ts";
import { createPrefetcher, type Prefetcher } from "../image/prefetch.ts";
import { readOrMakeMachineId } from "../machine-id.ts";
import { ingressPorts, readNetworkView } from "../network-table/network-view.ts";
import { agentPaths } from "../paths.ts";
import { createPeer, type PeerOptions } from "../peer/peer.ts";
import { Runtime } from "../runtime.ts";
import { Session, type SessionOptions } from "../session.ts";
import { serveStream } from "../streams.ts";
import { beOnTrial } from "../upgrade/on-trial.ts";
import { findProgram } from "../upgrade/program.ts";
import { resumeUpgrade } from "../upgrade/resume-upgrade.ts";
import { readUpgradeRecord } from "../upgrade/upgrade-record.ts";
import { createUpgrader, type Upgrader, type UpgraderOptions } from "../upgrade/upgrader.ts";
import { AGENT_VERSION } from "../version.ts";
import type { Command, CommandContext } from "./context.ts";
import { giveUpNode } from "./give-up.ts";
import { joinNow, joinOptions, readWish } from "./join.ts";
import { lockAgent } from "./lock.ts";
import { openImages } from "./open-images.ts";
import { type NodeNetwork, openNetwork } from "./open-network.ts";

/** Memory is given back when no process has changed for so long, and at most so often. */
const QUIET_MS = 5000;
const REST_MS = 60_000;

/** The daemon. SIGTERM ends it and leaves its containers running. */
export const runCommand: Command = {
  name: "run",
  summary: "run the agent; joins first when it has no identity and join's options are given",
  run: async (argv, context) => {
    const { values } = parseArgs({ args: [...argv], options: joinOptions });
    const paths = agentPaths(context.config);
    if ((await finishUpgrade(argv, context)) === "end") return 0;
    using _lock = lockAgent(paths.data);
    const identity =
      readIdentity(paths.identity) ??
      (await joinNow(readWish(values, context.environment), context));
    await serve(identity, context);
    return 0;
  },
};

/** What another life has begun. */
async function finishUpgrade(
  argv: readonly string[],
  { config, environment, logger }: CommandContext,
): Promise<"go on" | "end"> {
  const paths = agentPaths(config);
  // The new program needs the lock; nobody else may have it.
  lockAgent(paths.data)[Symbol.dispose]();
  const stop = new AbortController();
  stopOnSignal(() => stop.abort());
  const outcome = await resumeUpgrade({
    program: findProgram(),
    recordPath: paths.upgrade,
    proofPath: paths.upgradeProof,
    argv: ["run", ...argv],
    environment,
    logger,
    signal: stop.signal,
  });
  return stop.signal.aborted ? "end" : outcome;
}

async function serve(identity: Identity, context: CommandContext): Promise<void> {
  const { config, clock, logger, random, newId } = context;
  const { controllerUrl, nodeId, credential, caPem } = identity;
  const paths = agentPaths(config);
  const dispatcher = createDispatcher({ url: controllerUrl, caPem });
  const desired = readDesired(identity, context);
  const client = createControllerClient({ url: controllerUrl, nodeId, credential }, dispatcher);
  const bootId = newId();
  const peer = createPeer({ ...peerSettings(config), identity, client, bootId, clock, logger });
  const images = openImages(identity, context, {
    dispatcher,
    peer,
    inUse: () => new Set([...runtime.imagesInUse(), ...prefetcher.wished()]),
  });
  const hasRoom = (): boolean => readDiskShare(paths.images) < config.disk.highShare;
  const prefetcher = createPrefetcher({ store: images, hasRoom, logger });
  const memory = keepMemorySmall(logger);
  const runtime = await Runtime.open({
    config,
    agentKey: await readOrMakeMachineId(paths.machineId, newId),
    images: prefetcher,
    secrets: client.fetchSecret,
    view: readNetworkView(paths.network, { nodeId, ingressPorts: ingressPorts(config), logger }),
    clock,
    logger,
    onChange: (urgency) => {
      session.changed(urgency);
      memory.stir();
    },
  });
  const network = openNetwork(context, { client, nodeId, bootId, runtime, epoch: desired.epoch });
  const obey = toAll({ network, runtime, prefetcher });
  const upgrader = openUpgrader(context, {
    controllerUrl,
    dispatcher,
    onChange: () => session.changed("now"),
    // Ended like this, the agent is started again by whoever keeps it, and tries the new program first.
    onStaged: () => session.close(),
  });
  const trial = beOnTrial(context, paths.upgradeProof, () => session);
  const session = new Session({
    client,
    logger,
    random,
    agentVersion: AGENT_VERSION,
    bootId,
    beatIntervalMs: identity.beatIntervalMs,
    desired,
    desiredPath: paths.desired,
    onDesired: obey,
    onAnswer: trial.hearing(peer.heard),
    onUpgrade: upgrader.order,
    describeUpgrade: upgrader.report,
    ...removeVolumes(context, runtime, () => session.changed("now")),
    onStream: (request) => void serveStream(request, { runtime, client, logger }),
    describeProcesses: () => runtime.report(),
    takeSpans: () => runtime.services.spans.take(),
  });
  obey(desired);
  memory.stir();
  using _gc = images.keep();
  logger.info({ node: identity.name, controller: controllerUrl }, "agent runs");
  stopOnSignal(() => session.close());
  const end = await session.run();
  await network.close();
  await peer.close();
  prefetcher.close();
  if (end === "decommissioned") process.exit(await giveUpNode({ paths, runtime, desired, logger }));
  logger.info("agent ends, containers go on");
  // Steps under way, such as a long grace period, are taken up again by the next life.
  process.exit(0);
}

type Obeying = {
  readonly network: NodeNetwork;
  readonly runtime: Runtime;
  readonly prefetcher: Prefetcher;
};

function toAll({ network, runtime, prefetcher }: Obeying): (desired: DesiredState) => void {
  return ({ epoch, assignments, prefetch = [] }) => {
    network.obey(epoch);
    runtime.assign(assignments);
    prefetcher.wish(prefetch);
  };
}

/** How often what is left is tried, for as long as something is to be removed. */
const REMOVE_VOLUMES_MS = 5000;

function removeVolumes(
  { config, logger }: CommandContext,
  runtime: Runtime,
  onRemoved: () => void,
): Pick<SessionOptions, "onRemoveVolumes" | "describeRemovedVolumes"> {
  const remover = createVolumeRemover({
    paths: agentPaths(config),
    isUsed: (volume) => runtime.usesVolume(volume),
    onRemoved,
  });
  let isBusy = false;
  const work = (): void => {
    if (isBusy) return;
    isBusy = true;
    remover
      .work()
      .catch((error: unknown) => logger.error({ err: error }, "a volume could not be removed"))
      .finally(() => (isBusy = false));
  };
  setInterval(work, REMOVE_VOLUMES_MS).unref();
  return {
    onRemoveVolumes: (volumes) => {
      remover.want(volumes);
      work();
    },
    describeRemovedVolumes: remover.removed,
  };
}

function peerSettings({
  peerPort,
  peerBytesPerSecond: bytesPerSecond,
}: AgentConfig): Pick<PeerOptions, "port" | "bytesPerSecond"> {
  return { port: peerPort === 0 ? undefined : peerPort, bytesPerSecond };
}

function openUpgrader(
  { config, environment, logger }: CommandContext,
  options: Pick<UpgraderOptions, "controllerUrl" | "dispatcher" | "onChange" | "onStaged">,
): Upgrader {
  const { upgrade: recordPath } = agentPaths(config);
  return createUpgrader({
    ...options,
    program: findProgram(),
    environment,
    logger,
    record: readUpgradeRecord(recordPath, logger),
    recordPath,
  });
}

/** A node that was never told anything works from an empty list, and asks for revision 0. One that lost what it was told
 * goes on with what its processes remember, so that nothing is stopped for want of a file. */
function readDesired({ epoch }: Identity, { config, logger }: CommandContext): DesiredState {
  const paths = agentPaths(config);
  const unknown = { version: 1, epoch, revision: 0 } as const;
  try {
    return readStateFile(paths.desired, DesiredState) ?? { ...unknown, assignments: [] };
  } catch (error) {
    logger.error({ err: error }, "going on with what the processes remember");
    const assignments = listRecords(paths, logger).map(({ assignment }) => assignment);
    return { ...unknown, assignments };
  }
}

function keepMemorySmall(logger: Logger): QuietWork {
  return createQuietWork({
    work: () =>
      giveBackCode(process.pid).catch((error: unknown) =>
        logger.debug({ err: error }, "no memory was given back"),
      ),
    quietMs: QUIET_MS,
    restMs: REST_MS,
  });
}

function stopOnSignal(stop: () => void): void {
  for (const signal of ["SIGTERM", "SIGINT"] as const) process.once(signal, stop);
}
