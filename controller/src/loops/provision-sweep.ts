/** Compares what providers have with what the controller knows: VMs that nobody knows are deleted, and VMs that are
 * gone are forgotten with their nodes. */
import { planSweep } from "../domain/autoscale/l2/overdue.ts";
import { forgetVm } from "../operations/nodes.ts";
import { failVm } from "../operations/vms.ts";
import type { Provider, Vm } from "../providers/provider.ts";
import { getNode, listNodes } from "../store/nodes.ts";
import type { ProviderRow } from "../store/providers.ts";
import type { Store } from "../store/unit.ts";
import { getVm, listVms, type VmRow } from "../store/vms.ts";
import type { CallsOptions } from "./provision-calls.ts";

export type SweepOptions = Pick<
  CallsOptions,
  "store" | "providers" | "epochs" | "monotonicMs" | "logger" | "onResult" | "onNodeGone" | "onCall"
> & {
  /** Whether so many nodes are silent that the fault is taken for ours. */
  readonly isHeld: () => boolean;
};

export type Sweep = {
  /** Begins the sweeps that are due. Milliseconds until the next one is. */
  readonly pursue: (providers: readonly SweptProvider[]) => number;
  readonly idle: () => Promise<void>;
  readonly stop: () => Promise<void>;
};

export type SweptProvider = Pick<ProviderRow, "name" | "settings"> & {
  readonly intervalMs: number;
};

/** From look to look while nodes of the provider are away. */
const URGENT_MS = 15_000;
/** A VM is deleted as unknown when it has been seen unknown for so long. */
const UNKNOWN_MS = 120_000;
/** Unknown VMs deleted in one sweep. */
const DELETED_MAX = 50;

type Turn = { startedMs: number; underWay: Promise<void> | undefined; failed: boolean };

export function createSweep(options: SweepOptions): Sweep {
  const { store, monotonicMs } = options;
  const stopping = new AbortController();
  const turns = new Map<string, Turn>();
  /** By provider and VM: since when it is seen unknown. */
  const unknownSince = new Map<string, number>();

  const begin = (name: string, turn: Turn): void => {
    turn.startedMs = monotonicMs();
    const run = async (): Promise<void> => {
      try {
        await sweep(options, { name, unknownSince, signal: stopping.signal });
        options.onCall({ method: "list", outcome: "ok" });
        turn.failed = false;
      } catch (error) {
        if (stopping.signal.aborted) return;
        options.onCall({ method: "list", outcome: "failed" });
        // Once, not at every look until it answers.
        if (!turn.failed)
          options.logger.warn(
            { provider: name, err: error },
            "the VMs of a provider are not known",
          );
        turn.failed = true;
      } finally {
        turn.underWay = undefined;
        if (!stopping.signal.aborted) options.onResult();
      }
    };
    turn.underWay = Promise.resolve().then(run);
  };

  return {
    pursue: (providers) => {
      let nextMs = Infinity;
      const withAway = providersOfAway(store);
      for (const { name, settings, intervalMs } of providers) {
        if (settings["kind"] === "static" || stopping.signal.aborted) continue;
        const turn = turns.get(name) ?? {
          startedMs: -Infinity,
          underWay: undefined,
          failed: false,
        };
        turns.set(name, turn);
        if (turn.underWay !== undefined) continue;
        const everyMs = withAway.has(name) ? Math.min(URGENT_MS, intervalMs) : intervalMs;
        const waitMs = turn.startedMs + everyMs - monotonicMs();
        if (waitMs <= 0) begin(name, turn);
        else nextMs = Math.min(nextMs, waitMs);
      }
      return nextMs;
    },
    idle: async () => {
      await Promise.all([...turns.values()].flatMap(({ underWay }) => underWay ?? []));
    },
    stop: async () => {
      stopping.abort();
      await Promise.all([...turns.values()].flatMap(({ underWay }) => underWay ?? []));
    },
  };
}

/** Providers with nodes that are away: each of those may be gone for good. */
function providersOfAway({ sql }: Store): ReadonlySet<string> {
  const away = new Set(
    listNodes(sql).flatMap(({ id, presence }) => (presence === "away" ? [id] : [])),
  );
  return new Set(
    listVms(sql).flatMap(({ provider, nodeId, state }) =>
      state !== "deleting" && nodeId !== null && away.has(nodeId) ? [provider] : [],
    ),
  );
}

type Look = {
  readonly name: string;
  readonly unknownSince: Map<string, number>;
  readonly signal: AbortSignal;
};

async function sweep(options: SweepOptions, look: Look): Promise<void> {
  const { store, providers } = options;
  const before = listVms(store.sql).filter(({ provider }) => provider === look.name);
  const provider = providers.open(store.sql, look.name);
  const listed = await provider.list(look.signal);
  look.signal.throwIfAborted();
  if (!options.epochs.isConfirmed()) return noteUnknown(options, look.name, listed);
  const byToken = new Map(listed.map((vm) => [vm.clientToken, vm]));
  for (const row of before) {
    const nodeId = takeIn(options, row, byToken.get(row.id));
    if (nodeId !== undefined) options.onNodeGone(nodeId);
  }
  await deleteUnknown(options, look, { provider, listed });
}

/** What the list says of a VM that was known when it was asked for. Returns the id of a node that is forgotten. */
function takeIn(
  { store, isHeld }: SweepOptions,
  row: VmRow,
  seen: Vm | undefined,
): string | undefined {
  const isMade = row.state === "booting" || row.state === "joined";
  if (!isMade) return undefined;
  if (seen === undefined) {
    // Whoever still reports is there, whatever the list says.
    const node = row.nodeId === null ? undefined : getNode(store.sql, row.nodeId);
    if (node !== undefined && (node.presence === "present" || isHeld())) return undefined;
    return store.write((unit) => {
      const current = getVm(unit.sql, row.id);
      return current === undefined || current.state === "deleting"
        ? undefined
        : forgetVm(unit, current, `provider ${row.provider} does not have it any more`);
    });
  }
  const ended = seen.state === "failed" || seen.state === "stopped";
  if (row.state === "booting" && row.nodeId === null && ended) {
    const message = seen.message ?? `provider ${row.provider} says that it is ${seen.state}`;
    store.write((unit) => failVm(unit, row.id, { code: "VM_ENDED", message }));
  }
  return undefined;
}

/** A restored state shows what it does not know, and lets it be: it may have been made after the backup. */
function noteUnknown({ store, epochs }: SweepOptions, name: string, listed: readonly Vm[]): void {
  const known = new Set(listVms(store.sql).map(({ id }) => id));
  const unknown = listed.filter(
    ({ clientToken, state }) => !known.has(clientToken) && state !== "deleting",
  );
  epochs.noteUnknownVms(
    name,
    unknown.map(({ id, clientToken }) => ({ id: clientToken, vmId: id })),
  );
}

/** Only VMs of this state and of those that it follows. */
async function deleteUnknown(
  { store, epochs, monotonicMs, onCall }: SweepOptions,
  { name, unknownSince, signal }: Look,
  { provider, listed }: { readonly provider: Provider; readonly listed: readonly Vm[] },
): Promise<void> {
  const known = new Set(listVms(store.sql).map(({ id }) => id));
  const now = monotonicMs();
  const tags = new Set(epochs.tags());
  const own = listed.filter((vm) => tags.has(vm.labels["epoch"] ?? "") && vm.state !== "deleting");
  const keyOf = ({ clientToken }: Vm): string => `${name}/${clientToken}`;
  for (const vm of own) {
    const key = keyOf(vm);
    if (known.has(vm.clientToken)) unknownSince.delete(key);
    else if (!unknownSince.has(key)) unknownSince.set(key, now);
  }
  const present = new Set(own.map(keyOf));
  for (const key of unknownSince.keys())
    if (key.startsWith(`${name}/`) && !present.has(key)) unknownSince.delete(key);
  const leaked = planSweep(
    own.map((vm) => ({ id: vm.clientToken, createdAt: unknownSince.get(keyOf(vm)) ?? now })),
    { known, now, graceMs: UNKNOWN_MS },
  );
  for (const vm of own
    .filter(({ clientToken }) => leaked.includes(clientToken))
    .slice(0, DELETED_MAX)) {
    await provider.delete(vm.id, signal);
    onCall({ method: "delete", outcome: "ok" });
    store.write((unit) =>
      unit.emit({
        type: "vm.leaked",
        subject: vm.clientToken,
        message: `VM ${vm.clientToken} of provider ${name} was known to nobody and is deleted`,
        data: { provider: name, providerVmId: vm.id },
      }),
    );
  }
}
