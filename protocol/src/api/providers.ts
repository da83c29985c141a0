/** Where nodes come from, and the VMs that were made: what level 2 of the autoscaler works with. */
import { z } from "zod";

import { Capacity } from "../agent/messages.ts";
import { Name } from "../names.ts";
import { BytesText, CpuText } from "./autoscale.ts";

const GIB = 1024 ** 3;
/** `kernel.pid_max` of a Linux kernel that nobody has tuned. */
const PIDS = 32_768;

/** A size of VM. What its nodes report when they have joined is believed more than this. */
export const FlavorInput = z.strictObject({
  cpu: CpuText.refine((millis) => millis >= 100, "at least 100m"),
  memory: BytesText.refine((bytes) => bytes >= 64 * 1024 ** 2, "at least 64Mi"),
  disk: BytesText.refine((bytes) => bytes >= 1024 ** 2, "at least 1Mi").default(10 * GIB),
  pids: z.int().min(64).max(4_194_304).default(PIDS),
  /** What to boot, in the provider's own words: an alias, a fingerprint, a path. */
  image: z.string().min(1).max(512),
  /** What one kind of provider alone understands. */
  options: z.record(z.string().max(63), z.string().max(1024)).default({}),
  /** Of one node for an hour, in any one currency. */
  price: z.number().min(0).max(1e6).default(0),
});
export type ProviderFlavor = z.output<typeof FlavorInput>;

/** The name of a flavor is the provider's own. */
export const FlavorsInput = z
  .record(z.string().min(1).max(128), FlavorInput)
  .refine((flavors) => Object.keys(flavors).length <= 64, "at most 64 flavors");

const stored = {
  revision: z.int().positive(),
  createdAt: z.iso.datetime(),
  updatedAt: z.iso.datetime(),
};

/** Settings may hold credentials and paths of the controller's machine: those are shown as `(set)`. */
export const ProviderResource = z.object({
  name: Name,
  kind: z.string(),
  settings: z.record(z.string(), z.unknown()),
  flavors: z.record(z.string(), z.looseObject({ image: z.string() })),
  ...stored,
  status: z.object({ vms: z.int() }),
});
export type ProviderResource = z.infer<typeof ProviderResource>;

export const vmStates = ["launching", "booting", "joined", "deleting"] as const;
/** launching  its provider has been asked and has not answered
 * booting    there is a VM, its agent has not reported
 * joined     it is a node
 * deleting   its provider is asked to delete it until it says that it has */
export type VmState = (typeof vmStates)[number];

export const VmResource = z.object({
  /** The client token, and so the name of the machine. */
  id: z.string(),
  partition: Name,
  provider: Name,
  flavor: z.string(),
  /** The line of the policy that it was made from. */
  offer: z.string(),
  zone: z.string().nullable(),
  state: z.enum(vmStates),
  /** What the provider calls it. */
  providerVmId: z.string().nullable(),
  /** Name of its node. */
  node: z.string().nullable(),
  capacity: Capacity,
  /** Why it is being deleted. */
  deleteReason: z.string().nullable(),
  problem: z.object({ code: z.string(), message: z.string() }).nullable(),
  createdAt: z.iso.datetime(),
  joinedAt: z.iso.datetime().nullable(),
});
export type VmResource = z.infer<typeof VmResource>;

/** Why a partition has the nodes that it has. */
export const PartitionDecision = z.object({
  id: z.int(),
  at: z.iso.datetime(),
  /** Nodes that there will be when all is done. */
  desired: z.int(),
  /** One sentence. */
  reason: z.string(),
  actions: z.array(z.looseObject({ kind: z.string() })),
  /** What it was made of. */
  trace: z.record(z.string(), z.unknown()),
});
export type PartitionDecision = z.infer<typeof PartitionDecision>;
