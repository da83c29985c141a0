/** What makes and deletes the VMs of partitions. One file per provider; each passes tests/contract/provider.ts.
 *
 * A provider is made for one controller and sees that controller's VMs alone: every VM carries the controller's id,
 * its partition and its client token as tags that the provider itself keeps. So a controller that forgot a VM, in a
 * crash or by a restored backup, finds it again in `list`, and the sweep of leaked VMs can never hit somebody else's.
 *
 * Every method takes an AbortSignal and rejects with its reason once it is aborted; work already under way at the
 * provider may still end well, so look again with `list`, or call again: all methods are idempotent. Every method
 * has a time limit of its own and rejects with PROVIDER_TIMEOUT at its end. */
import type { Branded } from "@strata/protocol/brand";

import { ProviderError } from "./errors.ts";
import type { FirstBoot } from "./first-boot.ts";

export type Provider = {
  /** Makes a VM, or finds the one that was made with the same client token, and resolves when the provider has
   * taken it on for good: it may still be booting. A creation that was cut off half-way is finished by the next call
   * with its token. A VM that ended is given back as it is, not started again. What else the request says is not
   * compared with the first one.
   * @throws ProviderError of any code. */
  readonly create: (request: VmRequest, signal: AbortSignal) => Promise<Vm>;

  /** Deletes the VM and all that came with it (disk, seed, addresses), after a short chance to shut down by itself.
   * Absent is deleted: it resolves.
   * @throws ProviderError PROVIDER_INVALID when the VM is not this controller's, and any other. */
  readonly delete: (id: VmId, signal: AbortSignal) => Promise<void>;

  /** All VMs of this controller in every state, half-made ones too, in no certain order. At most `VM_COUNT_MAX`.
   * @throws ProviderError of any code; never a part of the list. */
  readonly list: (signal: AbortSignal) => Promise<readonly Vm[]>;

  /** One VM, or undefined when there is none or it is not this controller's.
   * @throws ProviderError of any code. */
  readonly describe: (id: VmId, signal: AbortSignal) => Promise<Vm | undefined>;
};

/** A VM's name at its provider. Only a provider makes one. */
export type VmId = Branded<"VmId">;

/** creating  accepted, or booting: nothing of ours has run in it yet, as far as the provider can see
 * running    powered on
 * stopped    there, but powered off by somebody or crashed
 * failed     the provider says that it will never run
 * deleting   on its way out */
export const vmStates = ["creating", "running", "stopped", "failed", "deleting"] as const;
export type VmState = (typeof vmStates)[number];

export type Vm = {
  readonly id: VmId;
  readonly clientToken: string;
  readonly partition: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly state: VmState;
  /** What the provider says about the state, for people. */
  readonly message?: string;
};

/** A size of VM that a provider sells. */
export type Flavor = {
  readonly name: string;
  readonly cpuMillis: number;
  readonly memoryBytes: number;
  readonly diskBytes: number;
  /** What one provider alone understands; its page in docs/reference/providers.md lists them. */
  readonly options: Readonly<Record<string, string>>;
};

export type VmRequest = {
  /** Names this creation: the same token never makes a second VM. It becomes the VM's name and host name, so it
   * is a label of RFC 1123 of at most 40 characters, with enough chance in it that nobody else makes the same. */
  readonly clientToken: string;
  readonly partition: string;
  readonly flavor: Flavor;
  /** What to boot, in the provider's own words: an alias, a fingerprint, a path. */
  readonly image: string;
  /** What the machine runs once, at its first boot: it joins the agent. */
  readonly firstBoot: FirstBoot;
  /** Shown again by `list`, for people and for billing. At most 32. */
  readonly labels: Readonly<Record<string, string>>;
};

const CLIENT_TOKEN_LENGTH_MAX = 40;
const LABEL_COUNT_MAX = 32;
/** More VMs than this under one controller and provider is taken for a fault. */
export const VM_COUNT_MAX = 10_000;

const label = /^[a-z]([a-z0-9-]*[a-z0-9])?$/;
const labelKey = /^[a-z0-9]([a-z0-9._-]{0,61}[a-z0-9])?$/;
// oxlint-disable-next-line no-control-regex -- these are exactly the characters to refuse
const labelValue = /^[^\u0000-\u001f\u007f]{0,256}$/;

/** Refuses what no provider could make; every `create` begins with it, before anything is touched.
 * @throws ProviderError PROVIDER_INVALID */
export function requireMakeable(request: VmRequest): void {
  const { clientToken, partition, flavor, labels } = request;
  if (!label.test(clientToken) || clientToken.length > CLIENT_TOKEN_LENGTH_MAX) {
    throw invalid(`the client token ${JSON.stringify(clientToken)} cannot be a host name`, {
      hint: `begin with a letter; lower-case letters, digits, hyphens; at most ${CLIENT_TOKEN_LENGTH_MAX}`,
    });
  }
  if (!label.test(partition))
    throw invalid(`${JSON.stringify(partition)} is not a partition's name`);
  for (const key of ["cpuMillis", "memoryBytes", "diskBytes"] as const) {
    if (!Number.isSafeInteger(flavor[key]) || flavor[key] <= 0) {
      throw invalid(`the flavor ${flavor.name} has ${key} ${flavor[key]}`, {
        hint: "give a whole number above zero",
      });
    }
  }
  requireLabels(labels);
}

function requireLabels(labels: Readonly<Record<string, string>>): void {
  const entries = Object.entries(labels);
  if (entries.length > LABEL_COUNT_MAX) {
    throw invalid(`${entries.length} labels are more than ${LABEL_COUNT_MAX}`);
  }
  for (const [key, value] of entries) {
    if (!labelKey.test(key) || !labelValue.test(value)) {
      throw invalid(`the label ${JSON.stringify(key)} cannot be kept by every provider`, {
        hint: "keys of lower-case letters, digits, dots, hyphens; values of one line up to 256 characters",
      });
    }
  }
}

function invalid(message: string, options: { readonly hint?: string } = {}): ProviderError {
  return new ProviderError("PROVIDER_INVALID", message, options);
}

/** For providers alone: takes a name that the provider gave out as a VM's id.
 * @throws ProviderError PROVIDER_FAILED when it is not of a sane form. */
export function parseVmId(text: string): VmId {
  if (!/^[A-Za-z0-9][A-Za-z0-9._:/-]{0,254}$/.test(text)) {
    throw new ProviderError("PROVIDER_FAILED", `${JSON.stringify(text)} is not a VM's id`);
  }
  // The cast is what parsing is for: this is the one place that makes a VmId.
  return text as VmId;
}
