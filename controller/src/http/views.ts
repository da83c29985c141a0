/** From rows to what the API shows. */
import type { Limits, ProcessMetrics, Volume } from "@strata/protocol/agent/messages";
import { isTerminal } from "@strata/protocol/agent/process-state";
import { PartitionPolicyInput, ScalingPolicyInput } from "@strata/protocol/api/autoscale";
import type { DrainPolicy } from "@strata/protocol/api/drain";
import type {
  Cartridge,
  Event,
  Partition,
  PartitionPolicyResource,
  Process,
  Running as RunningResource,
  ScalingPolicyResource,
  Subscription,
} from "@strata/protocol/api/resources";
import type { RolloutPolicy, RolloutStatus } from "@strata/protocol/api/rollouts";
import type {
  RetentionPolicyResource,
  SignaturePolicyResource,
  StoreQuotaResource,
} from "@strata/protocol/api/store-rules";
import { isDigest } from "@strata/protocol/oci/digest";
import { formatReference } from "@strata/protocol/oci/reference";
import { z } from "zod";

import { networkOf } from "../domain/network/service.ts";
import { nodeState } from "../domain/node.ts";
import { statusMessage } from "../domain/process.ts";
import type { Running, WantedFile } from "../domain/running.ts";
import type { CartridgeRow } from "../store/cartridges.ts";
import type { EventRow } from "../store/events.ts";
import type { NodeRow } from "../store/nodes.ts";
import {
  parsePartitionPolicy,
  type PartitionPolicyRow,
  type PartitionRow,
} from "../store/partitions.ts";
import type { ProcessRow, ProcessView } from "../store/processes.ts";
import { parseScalingPolicy, type ScalingPolicyRow } from "../store/scaling-policies.ts";
import type { SignaturePolicyRow } from "../store/signatures.ts";
import type { RetentionPolicyRow, StoreQuotaRow } from "../store/store-rules.ts";
import type { SubscriptionRow } from "../store/subscriptions.ts";
import { showProbe } from "./show-probe.ts";

export function showPartition(
  row: PartitionRow,
  status: {
    readonly nodes: readonly NodeRow[];
    readonly processes: number;
    readonly message: string | null;
  },
): Partition {
  return {
    ...row,
    labels: { ...row.labels },
    roles: [...row.roles],
    status: {
      nodes: status.nodes.length,
      nodesReady: status.nodes.filter((node) => nodeState(node) === "ready").length,
      processes: status.processes,
      message: status.message,
    },
  };
}

export function showPartitionPolicy(row: PartitionPolicyRow): PartitionPolicyResource {
  const policy = parsePartitionPolicy(row);
  const { minNodes, maxNodes } = policy;
  const shown = z.encode(PartitionPolicyInput, policy);
  return { name: row.name, ...shown, minNodes, maxNodes, ...stored(row) };
}

export function showScalingPolicy(row: ScalingPolicyRow): ScalingPolicyResource {
  const policy = parseScalingPolicy(row);
  const { min, max } = policy;
  return { name: row.name, ...z.encode(ScalingPolicyInput, policy), min, max, ...stored(row) };
}

export function showSignaturePolicy(row: SignaturePolicyRow): SignaturePolicyResource {
  const { name, repositories, mode, keys } = row;
  return { name, repositories: [...repositories], mode, keys: [...keys], ...stored(row) };
}

export function showRetentionPolicy(row: RetentionPolicyRow): RetentionPolicyResource {
  const { name, repositories, keepLast, keepTags, keepPulledWithinMs, keepUntagged } = row;
  return {
    name,
    repositories: [...repositories],
    keepLast,
    keepTags: keepTags === null ? null : [...keepTags],
    keepPulledWithin: keepPulledWithinMs === null ? null : keepPulledWithinMs / 1000,
    keepUntagged,
    ...stored(row),
  };
}

export function showStoreQuota(row: StoreQuotaRow): StoreQuotaResource {
  return { ...row };
}

export function showCartridge(row: CartridgeRow): Cartridge {
  const { name, description, image, digest, partition, running } = row;
  if (!isDigest(digest)) throw new Error(`cartridge ${name} has no digest`);
  return { name, description, image, digest, partition, ...showRunning(running), ...stored(row) };
}

export function showSubscription(
  row: SubscriptionRow,
  status: {
    readonly processes: readonly ProcessRow[];
    readonly count: number;
    readonly held: boolean;
    readonly rollout: RolloutStatus | null;
    readonly address: string | null;
    readonly hosts: readonly string[];
    /** What is to be said of its scaling policy. */
    readonly notice: string | null;
  },
): Subscription {
  const { alias, tenant, cartridge, partition, scalingPolicy, generation, running } = row;
  const live = status.processes.filter(
    ({ desired, drainDeadline }) => desired === "running" && drainDeadline === null,
  );
  const ready = live.filter((process) => process.ready && process.state === "running").length;
  const message = statusMessage(
    { desired: status.count, deleting: row.deletedAt !== null, held: status.held },
    {
      total: status.processes.length,
      ready,
      running: live.filter(({ state }) => state === "running").length,
      leaving: status.processes.length - live.length,
      problem: live.find(({ problem }) => problem !== null)?.problem ?? undefined,
    },
  );
  return {
    alias,
    tenant,
    cartridge,
    partition,
    processes: row.processes,
    scalingPolicy,
    lostAfter: row.lostAfterMs / 1000,
    rollout: row.rollout === null ? null : showRollout(row.rollout),
    drain: row.drain === null ? null : showDrain(row.drain),
    placement: row.placement,
    dependsOn: row.dependsOn,
    ratio: row.ratio,
    follow: row.follow,
    network: networkOf(row),
    ...showRunning(running),
    generation,
    ...stored(row),
    status: {
      address: status.address,
      hosts: [...status.hosts],
      desired: status.count,
      running: live.filter(({ state }) => state === "running").length,
      ready,
      message:
        [message, rolloutNotice(row, status.rollout), status.notice]
          .filter((part) => part !== null)
          .join("; ") || null,
      rollout: status.rollout,
    },
  };
}

/** What its processes alone do not tell. */
function rolloutNotice(
  { deletedAt }: SubscriptionRow,
  rollout: RolloutStatus | null,
): string | null {
  if (rollout === null || deletedAt !== null || rollout.state === "progressing") return null;
  return rollout.message;
}

export function showProcess(
  { process, spec }: ProcessView,
  context: { readonly node: NodeRow | undefined; readonly metrics: ProcessMetrics | undefined },
): Process {
  const { node, metrics } = context;
  return {
    id: process.id,
    tenant: spec.tenant,
    subscription: spec.subscription,
    cartridge: spec.cartridge,
    image: formatReference(spec.image),
    generation: process.generation,
    // Its node does not know yet that it is about to go.
    state:
      process.drainDeadline !== null && process.state === "running" ? "draining" : process.state,
    ready: process.ready,
    frozen: isFrozen(process),
    node: node?.name ?? null,
    pid: process.pid,
    restarts: process.restarts,
    address: process.address,
    address6: process.address6,
    endpoints: node === undefined || !takesNew(process) ? [] : endpoints(process, node.address),
    lastExit: process.lastExit,
    reason: process.problem,
    metrics: metrics ?? null,
    createdAt: process.createdAt,
    startedAt: process.startedAt,
  };
}

/** Told to be, and no longer answering. */
export function isFrozen({ freeze, state, ready }: ProcessRow): boolean {
  return freeze === "ordered" && state === "running" && !ready;
}

export function showEvent(row: EventRow): Event {
  return { ...row, data: { ...row.data } };
}

export function showRunning(running: Running): z.infer<typeof RunningResource> {
  const { limits, stopGraceMs } = running;
  return {
    command: running.command === null ? null : [...running.command],
    args: running.args === null ? null : [...running.args],
    env: { ...running.env },
    user: running.user,
    workingDir: running.workingDir,
    ports: running.ports === null ? null : [...running.ports],
    health: showProbe(running.health),
    startup: showProbe(running.startup),
    liveness: showProbe(running.liveness),
    resources: limits === null ? null : showLimits(limits),
    stopGrace: stopGraceMs === null ? null : stopGraceMs / 1000,
    readOnly: running.readOnly ?? null,
    init: running.init ?? null,
    volumes: running.volumes?.map(showVolume) ?? null,
    files: running.files?.map(showFile) ?? null,
    secretEnv: { ...running.secretEnv },
  };
}

type Shown = z.infer<typeof RunningResource>;

function showLimits(limits: Limits): NonNullable<Shown["resources"]> {
  const { memoryHighBytes, swapMaxBytes, cpuWeight, io } = limits;
  return {
    memory: limits.memoryMaxBytes,
    cpu: limits.cpuMaxMillis / 1000,
    pids: limits.pidsMax,
    ...(memoryHighBytes === undefined ? {} : { memoryHigh: memoryHighBytes }),
    ...(swapMaxBytes === undefined ? {} : { swap: swapMaxBytes }),
    ...(cpuWeight === undefined ? {} : { cpuWeight }),
    ...(io === undefined
      ? {}
      : {
          io: {
            weight: io.weight,
            readPerSecond: io.readBytesPerSecond,
            writePerSecond: io.writeBytesPerSecond,
            readOpsPerSecond: io.readOpsPerSecond,
            writeOpsPerSecond: io.writeOpsPerSecond,
          },
        }),
  };
}

function showVolume(volume: Volume): NonNullable<Shown["volumes"]>[number] {
  const { path } = volume;
  if (volume.kind === "tmpfs") return { tmpfs: volume.sizeBytes, path };
  const { readOnly } = volume;
  return volume.kind === "named"
    ? {
        name: volume.name,
        path,
        readOnly,
        ...(volume.shared === undefined ? {} : { shared: volume.shared }),
      }
    : { hostPath: volume.source, path, readOnly };
}

function showFile({ path, mode, content }: WantedFile): NonNullable<Shown["files"]>[number] {
  return { path, ...content, mode: mode.toString(8).padStart(4, "0") };
}

/** Fields that every stored resource has. */
export function stored(row: { revision: number; createdAt: string; updatedAt: string }): {
  revision: number;
  createdAt: string;
  updatedAt: string;
} {
  const { revision, createdAt, updatedAt } = row;
  return { revision, createdAt, updatedAt };
}

function endpoints({ ports }: ProcessRow, address: string): Process["endpoints"] {
  const host = address.includes(":") ? `[${address}]` : address;
  return ports.flatMap(({ name, protocol, hostPort }) => {
    if (hostPort === undefined) return [];
    // A guess that is right for most: what speaks HTTP is reached by a click.
    const scheme = protocol === "tcp" ? "http" : "udp";
    return [{ name, protocol, url: `${scheme}://${host}:${hostPort}` }];
  });
}

/** What drains or is told to stop gets nothing new. */
function takesNew({ state, drainDeadline }: ProcessRow): boolean {
  return drainDeadline === null && state !== "draining" && !isTerminal(state);
}

function showDrain({ notice, max }: DrainPolicy): Subscription["drain"] {
  return {
    ...(notice === undefined ? {} : { notice: notice / 1000 }),
    ...(max === undefined ? {} : { max: max / 1000 }),
  };
}

function showRollout(policy: RolloutPolicy): Subscription["rollout"] {
  const { canaryFor, minReady, progressDeadline } = policy;
  return {
    ...policy,
    ...(canaryFor === undefined ? {} : { canaryFor: canaryFor / 1000 }),
    minReady: minReady / 1000,
    progressDeadline: progressDeadline / 1000,
  };
}
