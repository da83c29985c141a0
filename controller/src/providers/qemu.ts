/** VMs on the controller's own machine: QEMU with KVM where there is, emulated else.
 *
 * Each VM is a folder: a record of whose it is, an overlay disk, a seed with its first boot, the socket of the machine
 * protocol and a pid file. QEMU runs in a session of its own, so VMs outlive the controller and are found again by their
 * folders. Nothing else of the host is changed. */
import { mkdir, readdir } from "node:fs/promises";
import { join } from "node:path";

import { getErrorCode } from "@strata/protocol/errors";

import { ProviderError } from "./errors.ts";
import { guardCalls } from "./guard-calls.ts";
import { parseVmId, VM_COUNT_MAX } from "./provider.ts";
import type { Provider, Vm, VmId, VmRequest } from "./provider.ts";
import { endMachine, isStarted, lookAtMachine, startMachine } from "./qemu-machine.ts";
import { claimRecord, deleteFolder, type QemuRecord, readRecord } from "./qemu-record.ts";
import type { QemuSettings } from "./qemu-settings.ts";

export type QemuProviderOptions = {
  readonly controllerId: string;
  readonly settings: QemuSettings;
  /** Where the VMs live: an absolute path without a comma, on a disk large enough, the same after a restart. */
  readonly folder: string;
};

/** A unix socket's path has 107 bytes; the longest client token and the file's name take their part. */
const FOLDER_LENGTH_MAX = 60;

/** @throws ProviderError PROVIDER_INVALID when the folder's path cannot be used */
export function createQemuProvider(options: QemuProviderOptions): Provider {
  const { controllerId, settings, folder } = options;
  requireFolder(folder);
  return guardCalls(
    {
      create: (request, signal) => create(options, request, signal),
      delete: (id, signal) => remove(options, id, signal),
      list: async (signal) => {
        const vms = await Promise.all(
          (await vmFolders(folder)).map((path) => describe(path, controllerId, signal)),
        );
        return vms.filter((vm) => vm !== undefined);
      },
      describe: async (id, signal) => describe(folderOf(folder, id), controllerId, signal),
    },
    settings.timeout,
  );
}

async function create(
  { controllerId, settings, folder }: QemuProviderOptions,
  request: VmRequest,
  signal: AbortSignal,
): Promise<Vm> {
  const { clientToken, partition, labels } = request;
  const image = settings.images[request.image];
  if (image === undefined) {
    const known = Object.keys(settings.images).join(", ");
    throw new ProviderError("PROVIDER_INVALID", `there is no image ${request.image}`, {
      hint: `name one of the provider's images: ${known === "" ? "it has none" : known}`,
    });
  }
  const path = join(folder, clientToken);
  await mkdir(path, { recursive: true, mode: 0o700 });
  const record = await claimRecord(path, { controllerId, clientToken, partition, labels });
  requireOwner(record, controllerId);
  if (!(await isStarted(path))) await startMachine(path, { request, image, settings }, signal);
  return toVm(path, record, signal);
}

async function remove(
  { controllerId, settings, folder }: QemuProviderOptions,
  id: VmId,
  signal: AbortSignal,
): Promise<void> {
  const path = folderOf(folder, id);
  const record = await readRecord(path);
  if (record === undefined) return;
  requireOwner(record, controllerId);
  await endMachine(path, settings.stopGrace, signal);
  await deleteFolder(path);
}

async function describe(
  path: string,
  controllerId: string,
  signal: AbortSignal,
): Promise<Vm | undefined> {
  const record = await readRecord(path);
  return record?.controllerId === controllerId ? toVm(path, record, signal) : undefined;
}

async function toVm(path: string, record: QemuRecord, signal: AbortSignal): Promise<Vm> {
  const { clientToken, partition, labels } = record;
  const seen = await lookAtMachine(path, signal);
  return { id: parseVmId(clientToken), clientToken, partition, labels, ...seen };
}

function requireOwner(record: QemuRecord, controllerId: string): void {
  if (record.controllerId === controllerId) return;
  throw new ProviderError(
    "PROVIDER_INVALID",
    `${record.clientToken} belongs to another controller`,
  );
}

async function vmFolders(folder: string): Promise<readonly string[]> {
  try {
    const names = await readdir(folder);
    return names.slice(0, VM_COUNT_MAX).map((name) => join(folder, name));
  } catch (error) {
    if (getErrorCode(error) === "ENOENT") return [];
    throw error;
  }
}

/** An id of ours is a plain name; one that is not cannot be here. */
function folderOf(folder: string, id: VmId): string {
  if (/^[a-z0-9-]+$/.test(id)) return join(folder, id);
  throw new ProviderError("PROVIDER_INVALID", `${id} is not the name of a VM here`);
}

function requireFolder(folder: string): void {
  if (/^\/[^,\n]*$/.test(folder) && folder.length <= FOLDER_LENGTH_MAX) return;
  throw new ProviderError("PROVIDER_INVALID", `VMs cannot live in ${JSON.stringify(folder)}`, {
    hint: `give an absolute path without a comma of at most ${FOLDER_LENGTH_MAX} characters`,
  });
}
