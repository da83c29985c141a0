/** The resources of the control API as people write and read them: one schema gives the types, the validation and
 * the OpenAPI document. `…Input` is the body of a PUT; what a GET answers adds the name, times and the status. */
import { z } from "zod";

import {
  Argv,
  Capacity,
  containerKinds,
  ContainerPath,
  Env,
  EnvName,
  Exit,
  Port,
  ProcessMetrics,
} from "../agent/messages.ts";
import { findDuplicatePath, findMountPathFault } from "../agent/mount-path.ts";
import { processStates } from "../agent/process-state.ts";
import { Alias, Labels, Name } from "../names.ts";
import { DigestText } from "../oci/image.ts";
import { parseReference } from "../oci/reference.ts";
import { Bytes, CpuMillis, DurationMs } from "../units.ts";
import { DrainInput, DrainShown } from "./drain.ts";
import { NodeRoles, SubscriptionNetwork } from "./network.ts";
import { NodeUpgrade } from "./nodes.ts";
import { PlacementInput } from "./placement.ts";
import { HealthInput, LivenessInput, ProbeShown, StartupInput } from "./probes.ts";
import {
  follows,
  RatioInput,
  RolloutPolicyInput,
  RolloutPolicyShown,
  RolloutStatus,
} from "./rollouts.ts";

/** Fields that every stored resource has. `revision` is its ETag: send it as `If-Match` to change only what you saw. */
const stored = {
  revision: z.int().positive(),
  createdAt: z.iso.datetime(),
  updatedAt: z.iso.datetime(),
};

const ImageReference = z
  .string()
  .max(512)
  .refine((text) => {
    try {
      parseReference(text);
      return true;
    } catch {
      return false;
    }
  }, "write repository:tag or repository@sha256:…, without a host");

export const PartitionInput = z.strictObject({
  description: z.string().max(1024).default(""),
  labels: Labels.default({}),
  /** Name of the partition policy that says where its nodes come from. */
  policy: Name.optional(),
  /** What its nodes do beside running processes. */
  roles: NodeRoles.default([]),
});
export const Partition = z.object({
  name: Name,
  description: z.string(),
  labels: Labels,
  policy: Name.nullable(),
  roles: NodeRoles,
  ...stored,
  status: z.object({
    nodes: z.int(),
    nodesReady: z.int(),
    processes: z.int(),
    /** Why it has the nodes that it has, in one sentence; null where no policy decides. */
    message: z.string().nullable(),
  }),
});
export type Partition = z.infer<typeof Partition>;

/** What a PUT said, with every default filled in: it can be written again as it is. */
export const PartitionPolicyResource = z.looseObject({
  name: Name,
  minNodes: z.int(),
  maxNodes: z.int(),
  ...stored,
});
export type PartitionPolicyResource = z.infer<typeof PartitionPolicyResource>;

/** What a PUT said, with every default filled in: it can be written again as it is. */
export const ScalingPolicyResource = z.looseObject({
  name: Name,
  min: z.int(),
  max: z.int(),
  ...stored,
});
export type ScalingPolicyResource = z.infer<typeof ScalingPolicyResource>;

const ResourcesInput = z
  .strictObject({
    memory: Bytes.refine((bytes) => bytes >= 4 * 1024 * 1024, "at least 4Mi").default(
      256 * 1024 * 1024,
    ),
    cpu: CpuMillis.refine((millis) => millis >= 10, "at least 10m").default(1000),
    pids: z.int().min(8).max(4_000_000).default(512),
    /** Above it the kernel takes memory back before it kills. */
    memoryHigh: Bytes.refine((bytes) => bytes > 0, "more than 0").optional(),
    /** Beyond `memory`, on the node's disk; left out, none. */
    swap: Bytes.optional(),
    /** Its share when processors are short, beside others' 100. */
    cpuWeight: z.int().min(1).max(10_000).optional(),
    io: z
      .strictObject({
        weight: z.int().min(1).max(10_000).optional(),
        readPerSecond: Bytes.refine((bytes) => bytes > 0, "more than 0").optional(),
        writePerSecond: Bytes.refine((bytes) => bytes > 0, "more than 0").optional(),
        readOpsPerSecond: z.int().positive().optional(),
        writeOpsPerSecond: z.int().positive().optional(),
      })
      .optional(),
  })
  .refine(({ memory, memoryHigh }) => memoryHigh === undefined || memoryHigh <= memory, {
    path: ["memoryHigh"],
    message: "memoryHigh is above memory",
  });
const Resources = z.object({
  /** Bytes. */
  memory: z.int(),
  /** Processors. */
  cpu: z.number(),
  pids: z.int(),
  memoryHigh: z.int().optional(),
  swap: z.int().optional(),
  cpuWeight: z.int().optional(),
  /** Bytes, or operations, a second. */
  io: z
    .object({
      weight: z.int().optional(),
      readPerSecond: z.int().optional(),
      writePerSecond: z.int().optional(),
      readOpsPerSecond: z.int().optional(),
      writeOpsPerSecond: z.int().optional(),
    })
    .optional(),
});

/** Octal text: `"0440"`. */
const FileMode = z.string().regex(/^0?[0-7]{3}$/, "write the mode in octal, such as 0440");

const MountPath = ContainerPath.superRefine((path, context) => {
  const fault = findMountPathFault(path);
  if (fault !== undefined) context.addIssue({ code: "custom", message: `${path} ${fault}` });
});
const apart = (items: readonly { readonly path: string }[]): boolean =>
  findDuplicatePath(items.map(({ path }) => path)) === undefined;

const mount = { path: ContainerPath, readOnly: z.boolean().optional() };
const mountInput = { ...mount, path: MountPath };
/** One of them is given: `name` keeps a folder on one node, for one writer at a time unless it is `shared`, `hostPath` shows one of the node's own (an admin's wish
 * alone), `tmpfs` says the size of one in memory. */
export const VolumeInput = z.union([
  z.strictObject({ name: Name, ...mountInput, shared: z.boolean().optional() }),
  z.strictObject({ hostPath: ContainerPath, ...mountInput }),
  z.strictObject({
    tmpfs: Bytes.refine((bytes) => bytes >= 4096, "at least 4096"),
    path: MountPath,
  }),
]);
const VolumeShown = z.union([
  z.object({ name: Name, ...mount, shared: z.boolean().optional() }),
  z.object({ hostPath: ContainerPath, ...mount }),
  z.object({ tmpfs: z.int(), path: ContainerPath }),
]);

/** A file with a text, or with the value of one of the tenant's secrets, in memory. */
export const FileInput = z.union([
  z.strictObject({
    path: MountPath,
    text: z.string().max(64 * 1024),
    mode: FileMode.optional(),
  }),
  z.strictObject({ path: MountPath, secret: Name, mode: FileMode.optional() }),
]);

/** Every assignment of a node carries the texts, and all assignments go in one answer. */
const FILE_TEXTS_LENGTH_MAX = 64 * 1024;
const isShort = (files: readonly z.output<typeof FileInput>[]): boolean =>
  files.reduce((sum, file) => sum + ("text" in file ? file.text.length : 0), 0) <=
  FILE_TEXTS_LENGTH_MAX;

/** How to run; a subscription may say it again and wins over its cartridge. */
const running = {
  command: Argv.optional(),
  args: Argv.optional(),
  env: Env.default({}),
  user: z.string().max(256).optional(),
  workingDir: z.string().startsWith("/").max(4096).optional(),
  ports: z.array(Port).max(64).optional(),
  /** Readiness. */
  health: HealthInput.optional(),
  startup: StartupInput.optional(),
  liveness: LivenessInput.optional(),
  resources: ResourcesInput.optional(),
  /** From the stop signal to the kill. */
  stopGrace: DurationMs.refine((ms) => ms <= 3_600_000, "at most 1h").optional(),
  /** Whether the image's files are protected from the process. */
  readOnly: z.boolean().optional(),
  /** `system`: the image's init is PID 1. `auto`, the default, looks at the entry point. */
  init: z.enum(containerKinds).optional(),
  volumes: z.array(VolumeInput).max(64).refine(apart, "two volumes have one path").optional(),
  files: z
    .array(FileInput)
    .max(64)
    .refine(apart, "two files have one path")
    .refine(isShort, `more than ${FILE_TEXTS_LENGTH_MAX} characters of text in all`)
    .optional(),
  /** Variable and the name of the secret that is its value. */
  secretEnv: z.record(EnvName, Name).optional(),
};

export const CartridgeInput = z.strictObject({
  description: z.string().max(1024).default(""),
  /** `repository:tag` in the store. The digest that it names now is what runs until the next PUT. */
  image: ImageReference,
  /** Where its subscriptions run unless they say otherwise. */
  partition: Name.optional(),
  ...running,
});
export const Running = z.object({
  command: z.array(z.string()).nullable(),
  args: z.array(z.string()).nullable(),
  env: z.record(z.string(), z.string()),
  user: z.string().nullable(),
  workingDir: z.string().nullable(),
  ports: z.array(Port).nullable(),
  health: ProbeShown.nullable(),
  startup: ProbeShown.nullable(),
  liveness: ProbeShown.nullable(),
  resources: Resources.nullable(),
  /** Seconds. */
  stopGrace: z.number().nullable(),
  readOnly: z.boolean().nullable(),
  init: z.enum(containerKinds).nullable(),
  volumes: z.array(VolumeShown).nullable(),
  files: z.array(FileInput).nullable(),
  secretEnv: z.record(EnvName, Name),
});
export const Cartridge = z.object({
  name: Name,
  description: z.string(),
  image: z.string(),
  digest: DigestText,
  partition: Name.nullable(),
  ...Running.shape,
  ...stored,
});
export type Cartridge = z.infer<typeof Cartridge>;

export const SubscriptionInput = z.strictObject({
  cartridge: Name,
  partition: Name.optional(),
  /** How many processes to run. Left out, it stays as it is; 1 at first. */
  processes: z.int().min(0).max(100_000).optional(),
  /** Bounds for `processes`. */
  scalingPolicy: Name.optional(),
  /** From the first missed beat of a node to a replacement of its processes. */
  lostAfter: DurationMs.default(60_000),
  /** How a change comes to its processes. */
  rollout: RolloutPolicyInput.optional(),
  /** How a process goes that is no longer wanted. */
  drain: DrainInput.optional(),
  /** Which nodes may run them. */
  placement: PlacementInput.optional(),
  /** Aliases of the tenant that have to be ready before its first process starts. */
  dependsOn: z.array(Alias).max(64).optional(),
  /** Its count follows that of another subscription. */
  ratio: RatioInput.optional(),
  /** Which image it runs. */
  follow: z.enum(follows).default("cartridge"),
  /** Who reaches it, and whether an ingress has a route to it by itself. */
  network: SubscriptionNetwork.optional(),
  ...running,
});
export const Subscription = z.object({
  alias: Alias,
  tenant: Name,
  cartridge: Name,
  partition: Name,
  processes: z.int(),
  scalingPolicy: Name.nullable(),
  /** Seconds. */
  lostAfter: z.number(),
  rollout: RolloutPolicyShown.nullable(),
  drain: DrainShown.nullable(),
  placement: PlacementInput.nullable(),
  dependsOn: z.array(Alias).nullable(),
  ratio: RatioInput.nullable(),
  follow: z.enum(follows),
  network: SubscriptionNetwork,
  ...Running.shape,
  /** Of the spec: each change of what runs adds one, and old processes are replaced. */
  generation: z.int(),
  ...stored,
  status: z.object({
    /** IPv4, the same on every node for as long as it exists: leads to one of its processes. Null for a job's. */
    address: z.ipv4().nullable(),
    /** Where every ingress answers for it. */
    hosts: z.array(z.string()),
    desired: z.int(),
    running: z.int(),
    ready: z.int(),
    /** Why it is not as wished, in one sentence; null when it is. */
    message: z.string().nullable(),
    /** How its newest generation comes in. */
    rollout: RolloutStatus.nullable(),
  }),
});
export type Subscription = z.infer<typeof Subscription>;

/** What is shown of a secret; its value is shown to nobody. */
export const SecretInput = z.union([
  z.strictObject({
    text: z
      .string()
      .min(1)
      .max(64 * 1024),
  }),
  z.strictObject({
    base64: z
      .base64()
      .min(1)
      .max(88 * 1024),
  }),
]);
export const Secret = z.object({
  name: Name,
  tenant: Name,
  /** Grows with each new value; what uses it is replaced. */
  version: z.int().positive(),
  ...stored,
});
export type Secret = z.infer<typeof Secret>;

export const ScaleInput = z.strictObject({ processes: z.int().min(0).max(100_000) });

export const Process = z.object({
  id: z.string(),
  tenant: Name,
  subscription: z.string(),
  cartridge: Name,
  image: z.string(),
  generation: z.int(),
  state: z.enum(processStates),
  ready: z.boolean(),
  /** Its subscription sleeps: it has its memory and does nothing until a request comes. */
  frozen: z.boolean(),
  node: z.string().nullable(),
  pid: z.int().nullable(),
  restarts: z.int(),
  /** On the node's bridge. */
  address: z.string().nullable(),
  /** IPv6, where the node has it. */
  address6: z.string().nullable(),
  /** Where it is reached: the node's address and the published port. */
  endpoints: z.array(
    z.object({ name: z.string(), protocol: z.enum(["tcp", "udp"]), url: z.string() }),
  ),
  lastExit: Exit.nullable(),
  /** Why it is pending, waiting or failed. */
  reason: z.object({ code: z.string(), message: z.string() }).nullable(),
  metrics: ProcessMetrics.nullable(),
  createdAt: z.iso.datetime(),
  startedAt: z.iso.datetime().nullable(),
});
export type Process = z.infer<typeof Process>;

const nodeStates = ["ready", "cordoned", "draining", "away"] as const;
export const Node = z.object({
  id: z.string(),
  name: Name,
  partition: Name,
  state: z.enum(nodeStates),
  /** Why it is not simply ready; null when there is nothing to say. */
  message: z.string().nullable(),
  address: z.string(),
  architecture: z.string(),
  kernel: z.string(),
  agentVersion: z.string(),
  labels: Labels,
  /** Its own, or its partition's. */
  roles: NodeRoles,
  capacity: Capacity,
  /** What its processes may use at most, in the same units. */
  allocated: z.object({ cpuMillis: z.int(), memoryBytes: z.int(), pids: z.int() }),
  processes: z.int(),
  /** When a drain stops what is left; null where it waits for ever, or there is none. */
  drainDeadline: z.iso.datetime().nullable(),
  /** The last upgrade of its agent. */
  upgrade: NodeUpgrade.nullable(),
  /** Of its last report; null while it has joined and not yet reported. */
  lastSeenAt: z.iso.datetime().nullable(),
  ...stored,
});
export type Node = z.infer<typeof Node>;

export const JoinTokenInput = z.strictObject({
  partition: Name,
  expiresIn: DurationMs.default(3_600_000),
  /** How many nodes may join with it. */
  uses: z.int().min(1).max(100_000).default(1),
});
export const JoinTokenResource = z.object({
  id: z.string(),
  partition: Name,
  usesLeft: z.int(),
  expiresAt: z.iso.datetime(),
  createdAt: z.iso.datetime(),
});
/** The only answer that ever shows the token, with the line to run on the new machine. */
export const JoinTokenCreated = JoinTokenResource.extend({
  token: z.string(),
  command: z.string(),
});
export type JoinTokenCreated = z.infer<typeof JoinTokenCreated>;

export const Event = z.object({
  id: z.int().positive(),
  at: z.iso.datetime(),
  /** `process.running`, `node.away`, …: kind of thing, dot, what happened. */
  type: z.string(),
  tenant: Name.nullable(),
  subject: z.string(),
  message: z.string(),
  data: z.record(z.string(), z.unknown()),
});
export type Event = z.infer<typeof Event>;

export const ExecInput = z.strictObject({
  command: Argv.min(1),
  env: Env.default({}),
  /** Text for its standard input. */
  stdin: z
    .string()
    .max(1024 * 1024)
    .default(""),
  timeout: DurationMs.refine((ms) => ms <= 600_000, "at most 10m").default(60_000),
});
export const ExecResult = z.object({
  exitCode: z.int(),
  stdout: z.string(),
  stderr: z.string(),
  /** Output past 1 MiB a stream is dropped. */
  truncated: z.boolean(),
});

/** What was unpacked. */
export const CopyResult = z.object({
  entries: z.int().nonnegative(),
  bytes: z.int().nonnegative(),
  /** Devices, fifos and the like, which are not made. */
  skipped: z.int().nonnegative(),
});
export type CopyResult = z.infer<typeof CopyResult>;

/** One document of `POST /v1/apply`: a kind, its name, and the fields of its PUT. */
export const applyKinds = [
  "Provider",
  "PartitionPolicy",
  "ScalingPolicy",
  "Partition",
  "Cartridge",
  "Subscription",
  "Job",
  "Route",
  "Certificate",
] as const;
export type ApplyKind = (typeof applyKinds)[number];
export const ApplyResult = z.object({
  results: z.array(
    z.object({
      kind: z.enum(applyKinds),
      name: z.string(),
      action: z.enum(["created", "updated", "unchanged"]),
      /** One line for each changed field: `processes: 1 -> 3`. */
      changes: z.array(z.string()),
    }),
  ),
});
export type ApplyResult = z.infer<typeof ApplyResult>;

/** A list answer. `next` is the value for `?after=` of the next page, null on the last. */
export function listOf<Item extends z.ZodType>(
  item: Item,
): z.ZodObject<{ items: z.ZodArray<Item>; next: z.ZodNullable<z.ZodString> }> {
  return z.object({ items: z.array(item), next: z.string().nullable() });
}
