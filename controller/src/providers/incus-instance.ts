/** What an instance of Incus or LXD looks like for us: which one we ask for, and what one that we see means. Pure. */
import { z } from "zod";

import { renderCloudConfig } from "./cloud-init.ts";
import { ProviderError } from "./errors.ts";
import type { IncusSettings } from "./incus-settings.ts";
import {
  type Flavor,
  parseVmId,
  type Vm,
  VM_COUNT_MAX,
  type VmRequest,
  type VmState,
} from "./provider.ts";

const Instance = z.object({
  name: z.string(),
  /** `Running`, `Stopped`, …: the server's words. */
  status: z.string(),
  config: z.record(z.string(), z.string()),
});
export type Instance = z.infer<typeof Instance>;

/** Config keys; the server keeps any key below `user.` and gives it no meaning. */
const tags = {
  controller: "user.strata.controller",
  partition: "user.strata.partition",
  /** JSON, since a label's key may have a dot. */
  labels: "user.strata.labels",
  phase: "user.strata.phase",
} as const;

/** Written last: everything that the creation of this instance had to do is done. */
export const doneConfig: Readonly<Record<string, string>> = { [tags.phase]: "done" };

export function instancePath(name: string): string {
  return `/instances/${encodeURIComponent(name)}`;
}

/** A filter for lists, which spares the server the rest; what comes back is looked at all the same. */
export function ownedFilter(controllerId: string): string {
  return encodeURIComponent(`config.${tags.controller} eq ${controllerId}`);
}

export function isOwnedBy(instance: Instance, controllerId: string): boolean {
  return instance.config[tags.controller] === controllerId;
}

export function isDone(instance: Instance): boolean {
  return instance.config[tags.phase] === "done";
}

export function isPoweredOn(instance: Instance): boolean {
  return !["Stopped", "Aborting", "Error"].includes(instance.status);
}

export type InstanceRequest = {
  readonly name: string;
  readonly description: string;
  readonly type: IncusSettings["instances"];
  readonly source: Readonly<Record<string, string>>;
  /** None: what we ask for does not depend on what somebody wrote into a profile. */
  readonly profiles: readonly [];
  readonly config: Readonly<Record<string, string>>;
  readonly devices: Readonly<Record<string, Readonly<Record<string, string>>>>;
};

/** The body of POST /1.0/instances. */
export function planInstance(
  request: VmRequest,
  controllerId: string,
  settings: IncusSettings,
): InstanceRequest {
  const { clientToken, partition, flavor, image, labels } = request;
  return {
    name: clientToken,
    description: `node of the partition ${partition}`,
    type: settings.instances,
    source: {
      type: "image",
      ...(/^[0-9a-f]{12,64}$/.test(image) ? { fingerprint: image } : { alias: image }),
    },
    profiles: [],
    config: {
      ...planKind(flavor, settings),
      "limits.memory": String(flavor.memoryBytes),
      // The guest's window to the server is for cloud-init; without it there is nothing to see.
      ...(settings.firstBoot === "cloud-init"
        ? { "cloud-init.user-data": renderCloudConfig(request.firstBoot) }
        : { "security.devlxd": "false" }),
      ...flavor.options,
      [tags.controller]: controllerId,
      [tags.partition]: partition,
      [tags.labels]: JSON.stringify(labels),
      [tags.phase]: "begun",
    },
    devices: {
      root: { type: "disk", path: "/", pool: settings.pool, size: String(flavor.diskBytes) },
      eth0: { type: "nic", name: "eth0", network: settings.network },
    },
  };
}

/** What VMs and containers spell differently. */
function planKind(flavor: Flavor, settings: IncusSettings): Readonly<Record<string, string>> {
  if (settings.instances === "virtual-machine") {
    return { "limits.cpu": String(Math.ceil(flavor.cpuMillis / 1000)) };
  }
  return {
    // Milliseconds of each 100 ms: a share of processors, not a set of them.
    "limits.cpu.allowance": `${Math.ceil(flavor.cpuMillis / 10)}ms/100ms`,
    "security.nesting": "true",
    "security.privileged": String(settings.privileged),
  };
}

export function toVm(instance: Instance): Vm {
  const { name, status, config } = instance;
  return {
    id: parseVmId(name),
    clientToken: name,
    partition: config[tags.partition] ?? "",
    labels: parseLabels(config[tags.labels]),
    state: stateOf(instance),
    message: status,
  };
}

function stateOf(instance: Instance): VmState {
  if (instance.status === "Error") return "failed";
  if (!isDone(instance)) return "creating";
  return ["Stopped", "Stopping", "Aborting", "Frozen"].includes(instance.status)
    ? "stopped"
    : "running";
}

/** @throws ProviderError PROVIDER_FAILED */
export function parseInstance(metadata: unknown): Instance {
  return parse(Instance, metadata);
}

/** @throws ProviderError PROVIDER_FAILED */
export function parseInstances(metadata: unknown): readonly Instance[] {
  return parse(z.array(Instance).max(VM_COUNT_MAX), metadata);
}

/** Somebody may have edited the tag; a VM without its labels is better than no list at all. */
function parseLabels(text: string | undefined): Readonly<Record<string, string>> {
  try {
    return z.record(z.string(), z.string()).parse(JSON.parse(text ?? "{}"));
  } catch {
    return {};
  }
}

function parse<Value>(schema: z.ZodType<Value>, metadata: unknown): Value {
  const parsed = schema.safeParse(metadata);
  if (parsed.success) return parsed.data;
  throw new ProviderError(
    "PROVIDER_FAILED",
    "the server describes an instance in an unknown form",
    {
      cause: parsed.error,
    },
  );
}
