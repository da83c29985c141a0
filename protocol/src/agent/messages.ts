/** All that controller and agent say to each other, but for the frames of a stream (`stream.ts`).
 *
 *   GET  /ca.pem                                        anyone; the agent checks it against its token's fingerprint
 *   POST /v1/nodes/join                                 JoinRequest → JoinResponse; Bearer = secret of the join token
 *   GET  /v1/nodes/{id}/assignments?revision=N&wait=30s 200 Assignments when newer than N, 204 when the wait is over
 *   POST /v1/nodes/{id}/reports                         Report → ReportResponse; every report is also a beat
 *   POST /v1/nodes/{id}/deltas                          DeltaRequest → 200 octets, 204 when none would help
 *   POST /v1/nodes/{id}/peers/…                         `peers.ts`: images from other nodes
 *   GET  /v1/nodes/{id}/streams/{streamId}              101, `Upgrade: strata-stream`: frames of one StreamRequest
 *   GET  /v1/nodes/{id}/secrets/{name}/{version}?tenant=T  SecretValue, of a secret that one of its assignments names
 *
 * Everything after the join carries the node's credential as a Bearer token. The same credential pulls from /v2/. */
import { z } from "zod";

import { Labels, Name } from "../names.ts";
import { DigestText } from "../oci/image.ts";
import { LogSearch } from "./log-search.ts";
import { HealthProbe, MoreProbes } from "./probes.ts";
import { processStates } from "./process-state.ts";
import { AgentSpans, Traceparent } from "./spans.ts";
import { UpgradeOrder, UpgradeReport } from "./upgrade.ts";
import { VolumeFences, VolumeNames } from "./volumes.ts";

export const PROTOCOL_VERSION = 1;

/** What a node has in all, for placement. */
export const Capacity = z.object({
  cpuMillis: z.int().positive(),
  memoryBytes: z.int().positive(),
  pids: z.int().positive(),
});
export type Capacity = z.infer<typeof Capacity>;

export const JoinRequest = z.object({
  protocolVersion: z.int(),
  /** Wanted name; the controller adds digits if another node has it. */
  name: Name,
  /** An earlier identity, when the same agent joins again after its credential was lost. */
  machineId: z.string().max(128),
  os: z.literal("linux"),
  architecture: z.enum(["amd64", "arm64"]),
  kernel: z.string().max(256),
  agentVersion: z.string().max(64),
  /** Where other nodes and clients reach the ports that this node publishes. */
  address: z.string().max(255),
  capacity: Capacity,
  labels: Labels.default({}),
});
export type JoinRequest = z.infer<typeof JoinRequest>;

export const JoinResponse = z.object({
  nodeId: z.string(),
  name: z.string(),
  partition: z.string(),
  /** Bearer token of this node from now on. Given out once. */
  credential: z.string(),
  epoch: z.string(),
  beatIntervalMs: z.int().positive(),
});
export type JoinResponse = z.infer<typeof JoinResponse>;

export const Port = z.object({
  name: Name,
  containerPort: z.int().min(1).max(65535),
  protocol: z.enum(["tcp", "udp"]).default("tcp"),
  /** Wanted port on the node; left out, the agent takes a free one of its range. */
  hostPort: z.int().min(1).max(65535).optional(),
});
export type Port = z.infer<typeof Port>;

/** What a process may use of its node's disk; left out, no limit. */
export const IoLimits = z.object({
  /** Its share when several want the disk, beside others' 100. */
  weight: z.int().min(1).max(10_000).optional(),
  readBytesPerSecond: z.int().positive().optional(),
  writeBytesPerSecond: z.int().positive().optional(),
  readOpsPerSecond: z.int().positive().optional(),
  writeOpsPerSecond: z.int().positive().optional(),
});
export type IoLimits = z.infer<typeof IoLimits>;

/** The first three are what placement counts; the others shape how a process uses them. */
export const Limits = z.object({
  memoryMaxBytes: z.int().positive(),
  cpuMaxMillis: z.int().positive(),
  pidsMax: z.int().positive(),
  /** Above it the kernel takes memory back and slows the process down. */
  memoryHighBytes: z.int().positive().optional(),
  /** Beyond memory; left out, none. */
  swapMaxBytes: z.int().nonnegative().optional(),
  /** Its share when processors are short, beside others' 100. */
  cpuWeight: z.int().min(1).max(10_000).optional(),
  io: IoLimits.optional(),
});
export type Limits = z.infer<typeof Limits>;

/** One line of text without line breaks or NUL: it reaches an LXC configuration or a process environment. */
const Line = z
  .string()
  .max(32_768)
  // oxlint-disable-next-line no-control-regex -- these are exactly the characters to refuse
  .regex(/^[^\u0000\n\r]*$/, "line breaks and NUL are not allowed");

export const EnvName = z
  .string()
  .regex(/^[A-Za-z_][A-Za-z0-9_.-]*$/, "not a name of an environment variable");
export const Env = z.record(EnvName, Line);
export const Argv = z.array(Line).max(1024);

/** A path inside the container. */
export const ContainerPath = Line.max(4096).startsWith("/");

/** What is copied, or where to; the last part names it, so it may not be `..`. */
export const CopyPath = ContainerPath.refine(
  (path) => !path.split("/").includes(".."),
  "write it without ..",
);

/** What a container sees at `path` instead of what its image has there. */
export const Volume = z.discriminatedUnion("kind", [
  /** Kept on the node under the tenant's name for it; goes on when the process ends. */
  z.object({
    kind: z.literal("named"),
    name: Name,
    path: ContainerPath,
    readOnly: z.boolean().default(false),
    /** Several processes may write at once. */
    shared: z.boolean().optional(),
  }),
  /** A file or folder of the node. An admin's wish alone. */
  z.object({
    kind: z.literal("host"),
    source: ContainerPath,
    path: ContainerPath,
    readOnly: z.boolean().default(false),
  }),
  /** In memory, counted against the process's limit; gone when it ends. */
  z.object({ kind: z.literal("tmpfs"), path: ContainerPath, sizeBytes: z.int().positive() }),
]);
export type Volume = z.infer<typeof Volume>;

/** A version of a tenant's secret. Its value is never in an assignment: the agent asks for it. */
export const SecretReference = z.object({ name: Name, version: z.int().positive() });
export type SecretReference = z.infer<typeof SecretReference>;

/** The answer to an agent that asks for the value of a secret. */
export const SecretValue = z.object({ base64: z.base64().max(128 * 1024) });
export type SecretValue = z.infer<typeof SecretValue>;

/** A file that is written for the container, in memory. */
export const ContainerFile = z.object({
  path: ContainerPath,
  content: z.union([
    z.object({ text: z.string().max(256 * 1024) }),
    z.object({ secret: SecretReference }),
  ]),
  /** Permission bits [0o400]. */
  mode: z.int().min(0).max(0o777).default(0o400),
});
export type ContainerFile = z.infer<typeof ContainerFile>;

/** `system`: the image's init is PID 1 and looks after its services. `auto`: as the entry point suggests. */
export const containerKinds = ["auto", "application", "system"] as const;

/** What to run. Fields left out come from the image config. */
export const ProcessSpec = z.object({
  tenant: Name,
  subscription: z.string(),
  cartridge: Name,
  image: z.object({ repository: z.string(), digest: DigestText }),
  /** Replaces the image's Entrypoint and Cmd both. */
  command: Argv.optional(),
  /** Replaces the image's Cmd. */
  args: Argv.optional(),
  env: Env,
  user: Line.optional(),
  workingDir: Line.optional(),
  ports: z.array(Port).max(64),
  health: HealthProbe.optional(),
  probes: MoreProbes.optional(),
  limits: Limits,
  stopSignal: z
    .string()
    .regex(/^SIG[A-Z0-9+-]+$/)
    .optional(),
  stopGraceMs: z.int().nonnegative(),
  /** The image's files cannot be changed; /tmp, /run and /dev/shm are in memory. */
  readOnly: z.boolean().optional(),
  init: z.enum(containerKinds).optional(),
  /** `never`: its end is the end of the process, stopped after exit code 0 and failed after another. Left out, `always`. */
  restart: z.enum(["always", "never"]).optional(),
  volumes: z.array(Volume).max(64).optional(),
  files: z.array(ContainerFile).max(64).optional(),
  /** Variables whose values are secrets. They win over `env`. */
  secretEnv: z.record(EnvName, SecretReference).optional(),
});
export type ProcessSpec = z.infer<typeof ProcessSpec>;

/** The controller's wish for one process on this node. Safe to deliver twice. */
export const Assignment = z.object({
  id: z.string(),
  processId: z.string(),
  /** Of the subscription's spec. */
  generation: z.int().nonnegative(),
  /** Grows with every decision about this process; an agent refuses a smaller one than it has seen. */
  fence: z.int().nonnegative(),
  desired: z.enum(["running", "stopped"]),
  /** Once it is ready it is frozen, until the next fence. */
  frozen: z.boolean().optional(),
  /** RFC 3339. A process that has not begun to start by then is not started. */
  startDeadline: z.iso.datetime(),
  spec: ProcessSpec,
  /** Where the request that caused it is traced: the agent notes how long its steps take. */
  traceparent: Traceparent.optional(),
  /** Of the volumes that it alone may write to. */
  volumeFences: VolumeFences.optional(),
});
export type Assignment = z.infer<typeof Assignment>;

/** Somebody wants to see logs, run a command or copy files: the agent opens a connection for it. Delivered until opened. */
export const StreamRequest = z.discriminatedUnion("kind", [
  z.object({
    kind: z.literal("logs"),
    id: z.string(),
    processId: z.string(),
    follow: z.boolean(),
    /** Last lines to begin with; left out, everything that is kept. */
    tail: z.int().nonnegative().optional(),
    /** Goes on from this byte of the log. */
    from: z.int().nonnegative().optional(),
    /** Asks for `position` frames, and for `exit` at the end: so a log that breaks off is known and gone on with. */
    positions: z.boolean().optional(),
    /** Sends found lines in place of the text. */
    search: LogSearch.optional(),
  }),
  z.object({
    kind: z.literal("exec"),
    id: z.string(),
    processId: z.string(),
    command: Argv.min(1),
    /** Allocate a terminal. */
    tty: z.boolean(),
    env: Env,
  }),
  /** A file or folder comes as a tar archive in `stdout` frames, then `exit`. */
  z.object({
    kind: z.literal("copyOut"),
    id: z.string(),
    processId: z.string(),
    path: CopyPath,
  }),
  /** A tar archive goes in `stdin` frames; "ENTRIES BYTES SKIPPED" comes in `stdout`, then `exit`. */
  z.object({
    kind: z.literal("copyIn"),
    id: z.string(),
    processId: z.string(),
    path: CopyPath,
    /** What all names of the archive begin with; `path` may then be its new name. */
    top: z.string().max(255).optional(),
  }),
  /** A `Top` as JSON comes in `stdout` frames, then `exit`. */
  z.object({ kind: z.literal("top"), id: z.string(), processId: z.string() }),
]);
export type StreamRequest = z.infer<typeof StreamRequest>;

/** Of what a node will probably run soon, the likeliest first. */
export const PrefetchImages = z
  .array(z.object({ repository: z.string(), digest: DigestText }))
  .max(32);

export const Assignments = z.object({
  /** Changed by a restore of the controller. Destructive wishes of an unknown epoch are not carried out. */
  epoch: z.string(),
  /** Earlier epochs that an operator has confirmed this one to follow: a node of one of them takes this one over. */
  follows: z.array(z.string()).max(64).optional(),
  revision: z.int().nonnegative(),
  /** All of this node's assignments, not a difference: what is missing here must not run. */
  assignments: z.array(Assignment),
  /** All that shall be fetched beforehand. */
  prefetch: PrefetchImages.optional(),
  streams: z.array(StreamRequest),
  /** Taken from the known epoch alone; delivered until the node has reported how it ended. */
  upgrade: UpgradeOrder.optional(),
  /** Volumes to remove that nothing uses. Taken from the known epoch alone. */
  removeVolumes: VolumeNames.optional(),
});
export type Assignments = z.infer<typeof Assignments>;

/** Per cent of the last 10 s in which some or all of its tasks waited (Documentation/accounting/psi.rst). */
export const Pressure = z.object({
  cpuSome: z.number().min(0).max(100),
  memorySome: z.number().min(0).max(100),
  memoryFull: z.number().min(0).max(100),
  ioSome: z.number().min(0).max(100),
  ioFull: z.number().min(0).max(100),
});
export type Pressure = z.infer<typeof Pressure>;

export const ProcessMetrics = z.object({
  /** Processor time used since the container's start. */
  cpuUsageUs: z.int().nonnegative(),
  /** Without page cache. */
  memoryBytes: z.int().nonnegative(),
  pids: z.int().nonnegative(),
  networkRxBytes: z.int().nonnegative(),
  networkTxBytes: z.int().nonnegative(),
  /** When it was sampled: milliseconds since the node's boot, so that no change of its clock matters. */
  sampledAtMs: z.int().nonnegative().optional(),
  /** Established TCP connections to its ports. */
  connections: z.int().nonnegative().optional(),
  ioReadBytes: z.int().nonnegative().optional(),
  ioWriteBytes: z.int().nonnegative().optional(),
  networkRxDropped: z.int().nonnegative().optional(),
  networkTxDropped: z.int().nonnegative().optional(),
  /** Times that the kernel killed something of it for want of memory. */
  oomKills: z.int().nonnegative().optional(),
  /** Where the kernel has it. */
  pressure: Pressure.optional(),
});
export type ProcessMetrics = z.infer<typeof ProcessMetrics>;

/** How the last run of a process ended. */
export const Exit = z.object({
  /** The application's own code; 128 + N when signal N ended it. */
  code: z.int().min(0).max(255),
  reason: z.enum(["exited", "signaled", "out-of-memory", "unknown"]),
  at: z.iso.datetime(),
  /** Why the agent ended it, where that was not wished for: a probe. */
  problem: z.object({ code: z.string(), message: z.string() }).optional(),
});
export type Exit = z.infer<typeof Exit>;

export const ProcessReport = z.object({
  processId: z.string(),
  assignmentId: z.string(),
  fence: z.int().nonnegative(),
  state: z.enum(processStates).exclude(["pending", "suspect"]),
  ready: z.boolean(),
  /** It is frozen as wished, or a request woke it although this fence wishes for that. */
  sleep: z.enum(["frozen", "woken"]).optional(),
  /** Host pid of the application's first process. */
  pid: z.int().positive().optional(),
  startedAt: z.iso.datetime().optional(),
  restarts: z.int().nonnegative(),
  address: z.string().optional(),
  /** IPv6. */
  address6: z.string().optional(),
  ports: z.array(Port.required({ hostPort: true })),
  lastExit: Exit.optional(),
  /** Why it is failed or waiting; `code` is one of the agent's error codes. */
  problem: z.object({ code: z.string(), message: z.string() }).optional(),
  metrics: ProcessMetrics.optional(),
});
export type ProcessReport = z.infer<typeof ProcessReport>;

export const Report = z.object({
  epoch: z.string(),
  /** Grows by one with each report since `bootId` began; an older one that comes late is dropped. */
  sequence: z.int().nonnegative(),
  /** One life of the agent program. */
  bootId: z.string(),
  /** Revision of the assignments that this node has taken in. */
  revision: z.int().nonnegative(),
  agentVersion: z.string(),
  capacity: Capacity,
  /** Every process that the node holds, so that the controller may compare. Ended ones until they are unassigned. */
  processes: z.array(ProcessReport),
  /** Steps of starts that are traced, since the last report. */
  spans: AgentSpans.optional(),
  /** How far the last upgrade of the agent is. */
  upgrade: UpgradeReport.optional(),
  /** Those that were to be removed and are not there. */
  removedVolumes: VolumeNames.optional(),
});
export type Report = z.infer<typeof Report>;

/** Asks for a layer as the difference of its archive from those of layers that the node has (`delta/delta.ts`). */
export const DeltaRequest = z.object({
  repository: z.string().max(255),
  /** Of its blob. */
  digest: DigestText,
  /** Blobs of them, the likeliest first. Those that are not of the repository are not used. */
  bases: z.array(DigestText).min(1).max(8),
});
export type DeltaRequest = z.infer<typeof DeltaRequest>;
/** Header of the answer: the digests of the bases used, in order, with spaces between. */
export const DELTA_BASES_HEADER = "strata-delta-bases";
/** Header of the answer: the bytes of the archive that it makes. */
export const DELTA_ARCHIVE_HEADER = "strata-delta-archive-bytes";

export const ReportResponse = z.object({
  epoch: z.string(),
  beatIntervalMs: z.int().positive(),
  /** One life of the controller: what it kept in memory alone has to be told to another one again. */
  controllerBootId: z.string().optional(),
});
export type ReportResponse = z.infer<typeof ReportResponse>;
