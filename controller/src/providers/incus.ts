/** VMs, or nested containers where there is no KVM, made by an Incus or LXD server.
 *
 * The instance's name is the client token, so the server itself refuses a second one. Tags are config keys
 * `user.strata.*`; `user.strata.phase` is `done` when everything was set going, which is how a creation that was cut
 * off half-way is told from a finished one. */
import { ProviderError } from "./errors.ts";
import { guardCalls } from "./guard-calls.ts";
import { createIncusClient, type IncusClient, IncusError } from "./incus-client.ts";
import { createIncusConnection } from "./incus-connection.ts";
import { runFirstBoot } from "./incus-first-boot.ts";
import {
  doneConfig,
  type Instance,
  instancePath,
  isDone,
  isOwnedBy,
  isPoweredOn,
  ownedFilter,
  parseInstance,
  parseInstances,
  planInstance,
  toVm,
} from "./incus-instance.ts";
import type { IncusSettings } from "./incus-settings.ts";
import type { Provider, Vm, VmId, VmRequest } from "./provider.ts";

export type IncusProviderOptions = {
  readonly controllerId: string;
  readonly settings: IncusSettings;
};

/** @throws ProviderError PROVIDER_INVALID when a certificate file cannot be read */
export function createIncusProvider({ controllerId, settings }: IncusProviderOptions): Provider {
  const client = createIncusClient(createIncusConnection(settings), settings.project);
  const server: Server = { client, controllerId, settings };
  return guardCalls(
    {
      create: (request, signal) => create(server, request, signal),
      delete: (id, signal) => remove(server, id, signal),
      list: (signal) => list(server, signal),
      describe: (id, signal) => describe(server, id, signal),
    },
    settings.timeout,
  );
}

type Server = IncusProviderOptions & { readonly client: IncusClient };

async function create(server: Server, request: VmRequest, signal: AbortSignal): Promise<Vm> {
  const { client, settings } = server;
  const name = request.clientToken;
  const path = instancePath(name);
  const instance = (await findOurs(server, name, signal)) ?? (await make(server, request, signal));
  if (isDone(instance)) return toVm(instance);
  if (!isPoweredOn(instance)) {
    await client.change(
      { method: "PUT", path: `${path}/state`, body: { action: "start" } },
      signal,
    );
  }
  if (settings.firstBoot === "exec") await runFirstBoot(client, request, signal);
  await client.change({ method: "PATCH", path, body: { config: doneConfig } }, signal);
  return toVm(requireInstance(await findOurs(server, name, signal), name));
}

async function make(server: Server, request: VmRequest, signal: AbortSignal): Promise<Instance> {
  const body = planInstance(request, server.controllerId, server.settings);
  try {
    await server.client.change({ method: "POST", path: "/instances", body }, signal);
  } catch (error) {
    // An earlier creation, whose answer nobody waited for, may have come first.
    const other =
      error instanceof IncusError ? await findOurs(server, body.name, signal) : undefined;
    if (other === undefined) throw error;
    return other;
  }
  return requireInstance(await findOurs(server, body.name, signal), body.name);
}

async function remove(server: Server, id: VmId, signal: AbortSignal): Promise<void> {
  const { client, settings } = server;
  const instance = await findOurs(server, id, signal);
  if (instance === undefined) return;
  if (isPoweredOn(instance)) await powerOff(client, { id, graceMs: settings.stopGrace }, signal);
  await client.change({ method: "DELETE", path: instancePath(id) }, signal).catch(ignoreAbsent);
}

async function list({ client, controllerId }: Server, signal: AbortSignal): Promise<readonly Vm[]> {
  const path = `/instances?recursion=1&filter=${ownedFilter(controllerId)}`;
  return parseInstances(await client.get(path, signal))
    .filter((instance) => isOwnedBy(instance, controllerId))
    .map(toVm);
}

async function describe(server: Server, id: VmId, signal: AbortSignal): Promise<Vm | undefined> {
  const instance = await find(server, id, signal);
  return instance !== undefined && isOwnedBy(instance, server.controllerId)
    ? toVm(instance)
    : undefined;
}

async function find(
  { client }: Server,
  name: string,
  signal: AbortSignal,
): Promise<Instance | undefined> {
  const metadata = await client.get(instancePath(name), signal);
  return metadata === undefined ? undefined : parseInstance(metadata);
}

/** @throws ProviderError PROVIDER_INVALID when it is there and not ours */
async function findOurs(
  server: Server,
  name: string,
  signal: AbortSignal,
): Promise<Instance | undefined> {
  const instance = await find(server, name, signal);
  if (instance !== undefined && !isOwnedBy(instance, server.controllerId)) {
    throw new ProviderError("PROVIDER_INVALID", `the instance ${name} belongs to somebody else`, {
      hint: "it carries no tags of this controller; leave it alone, or delete it by hand",
    });
  }
  return instance;
}

async function powerOff(
  client: IncusClient,
  { id, graceMs }: { readonly id: VmId; readonly graceMs: number },
  signal: AbortSignal,
): Promise<void> {
  const path = `${instancePath(id)}/state`;
  const stop = { action: "stop", timeout: Math.ceil(graceMs / 1000) };
  try {
    await client.change({ method: "PUT", path, body: stop }, signal);
  } catch (error) {
    if (!(error instanceof IncusError)) throw error;
    // It did not listen, or is frozen, or has just stopped by itself: all the same after this.
    await client
      .change({ method: "PUT", path, body: { ...stop, force: true } }, signal)
      .catch((error: unknown) => {
        if (!(error instanceof IncusError) || !/already stopped/i.test(error.message)) throw error;
      });
  }
}

function requireInstance(instance: Instance | undefined, name: string): Instance {
  if (instance !== undefined) return instance;
  throw new ProviderError(
    "PROVIDER_FAILED",
    `${name} was deleted by somebody while it was being made`,
  );
}

function ignoreAbsent(error: unknown): void {
  if (!(error instanceof IncusError) || error.status !== 404) throw error;
}
