/** Asks providers to make and delete VMs, beside the loop and a few at a time. What has to be asked is in the rows of
 * the VMs alone, and every call is idempotent: after a crash the same rows lead to the same calls. */
import type { Logger } from "pino";

import type { UnknownVm } from "../operations/epoch.ts";
import { forgetVm } from "../operations/nodes.ts";
import { parseFlavors } from "../operations/providers.ts";
import { formatJoinTokenOf, type JoinAuthority } from "../operations/tokens.ts";
import { failVm, noteVmMade } from "../operations/vms.ts";
import { ProviderError } from "../providers/errors.ts";
import { planJoin } from "../providers/first-boot.ts";
import { parseVmId, type VmRequest } from "../providers/provider.ts";
import { getProvider } from "../store/providers.ts";
import type { Store } from "../store/unit.ts";
import { getVm, updateVm, type VmRow } from "../store/vms.ts";
import type { ProviderBook } from "./provision-providers.ts";

/** What of the controller's epochs matters to VMs. */
export type VmEpochs = {
  /** Of this state, then of those that it follows; the first is shown on every VM, so that a sweep knows its own. */
  readonly tags: () => readonly string[];
  /** False from a restore until somebody confirms it. */
  readonly isConfirmed: () => boolean;
  readonly noteUnknownVms: (provider: string, vms: readonly UnknownVm[]) => void;
};

export type CallsOptions = {
  readonly store: Store;
  readonly providers: ProviderBook;
  readonly authority: JoinAuthority & { readonly caPem: string };
  /** `https://host:port`, as new machines reach this controller. */
  readonly controllerUrl: () => string;
  readonly epochs: VmEpochs;
  readonly monotonicMs: () => number;
  readonly logger: Logger;
  /** A result has been written. */
  readonly onResult: () => void;
  readonly onNodeGone: (nodeId: string) => void;
  /** Ended calls, for /metrics. */
  readonly onCall: (call: { readonly method: string; readonly outcome: string }) => void;
};

export type Calls = {
  /** Begins what the rows ask for and is not under way. Milliseconds until a call that failed is due again. */
  readonly pursue: (vms: readonly VmRow[]) => number;
  /** Kept when no call is under way. */
  readonly idle: () => Promise<void>;
  /** Ends all calls; the next start goes on with them. */
  readonly stop: () => Promise<void>;
};

/** Calls to one provider under way at once. */
const CALLS_MAX = 8;
const RETRY_FIRST_MS = 1000;
const RETRY_MAX_MS = 60_000;

type Call = {
  readonly kind: "create" | "delete";
  readonly provider: string;
  readonly abort: AbortController;
  readonly done: Promise<void>;
};
type Retry = { readonly failures: number; readonly atMs: number };

export function createCalls(options: CallsOptions): Calls {
  const { monotonicMs, logger } = options;
  const underWay = new Map<string, Call>();
  const retries = new Map<string, Retry>();
  let stopping = false;

  const begin = (vm: VmRow, kind: Call["kind"]): void => {
    const abort = new AbortController();
    const run = async (): Promise<void> => {
      try {
        const work =
          kind === "create" ? create(options, vm, abort.signal) : remove(options, vm, abort.signal);
        await work;
        retries.delete(vm.id);
        options.onCall({ method: kind, outcome: "ok" });
      } catch (error) {
        if (!abort.signal.aborted) failed(vm, kind, error);
      } finally {
        underWay.delete(vm.id);
        if (!stopping) options.onResult();
      }
    };
    const failed = (vm: VmRow, kind: Call["kind"], error: unknown): void => {
      const problem = problemOf(error);
      options.onCall({ method: kind, outcome: problem.code });
      if (problem.code === "INTERNAL") logger.error({ vm: vm.id, err: error }, `${kind} failed`);
      if (kind === "create") {
        options.store.write((unit) => failVm(unit, vm.id, problem));
        return;
      }
      const failures = (retries.get(vm.id)?.failures ?? 0) + 1;
      const delayMs = Math.min(RETRY_MAX_MS, RETRY_FIRST_MS * 2 ** Math.min(failures - 1, 10));
      retries.set(vm.id, { failures, atMs: monotonicMs() + delayMs });
      options.store.write((unit) => updateVm(unit.sql, vm.id, { problem }));
    };
    // The call is entered before it runs, which it does only when this turn is over.
    underWay.set(vm.id, { kind, provider: vm.provider, abort, done: Promise.resolve().then(run) });
  };

  return {
    pursue: (vms) => {
      let nextMs = Infinity;
      for (const vm of vms) {
        const kind = wantedCall(vm);
        const call = underWay.get(vm.id);
        if (call !== undefined) {
          // A creation that is no longer wanted; its VM, if there will be one, is looked for and deleted.
          if (kind === "delete" && call.kind === "create") call.abort.abort();
          continue;
        }
        if (kind === undefined || stopping) continue;
        const waitMs = (retries.get(vm.id)?.atMs ?? 0) - monotonicMs();
        if (waitMs > 0) nextMs = Math.min(nextMs, waitMs);
        else if (countOf(underWay, vm.provider) < CALLS_MAX) begin(vm, kind);
      }
      return nextMs;
    },
    idle: async () => {
      while (underWay.size > 0) await Promise.all([...underWay.values()].map(({ done }) => done));
    },
    stop: async () => {
      stopping = true;
      for (const { abort } of underWay.values()) abort.abort();
      await Promise.all([...underWay.values()].map(({ done }) => done));
    },
  };
}

function wantedCall({ state }: VmRow): Call["kind"] | undefined {
  if (state === "launching") return "create";
  return state === "deleting" ? "delete" : undefined;
}

function countOf(calls: ReadonlyMap<string, Call>, provider: string): number {
  return [...calls.values()].filter((call) => call.provider === provider).length;
}

async function create(options: CallsOptions, vm: VmRow, signal: AbortSignal): Promise<void> {
  const { store, providers } = options;
  const request = requestOf(options, vm);
  const made = await providers.open(store.sql, vm.provider).create(request, signal);
  signal.throwIfAborted();
  if (made.state === "creating" || made.state === "running") {
    store.write((unit) => noteVmMade(unit, vm.id, made.id));
    return;
  }
  // Written first, so that the deletion needs no list to find it.
  store.write((unit) => {
    updateVm(unit.sql, vm.id, { providerVmId: made.id });
    const message = made.message ?? `provider ${vm.provider} says that it is ${made.state}`;
    failVm(unit, vm.id, { code: "VM_ENDED", message });
  });
}

/** @throws ProviderError PROVIDER_INVALID when the flavor is gone */
function requestOf(options: CallsOptions, vm: VmRow): VmRequest {
  const { store, authority, controllerUrl, epochs } = options;
  const row = getProvider(store.sql, vm.provider);
  const flavor = row === undefined ? undefined : parseFlavors(row)[vm.flavor];
  if (flavor === undefined) {
    throw new ProviderError(
      "PROVIDER_INVALID",
      `provider ${vm.provider} has no flavor ${vm.flavor}`,
    );
  }
  return {
    clientToken: vm.id,
    partition: vm.partition,
    flavor: {
      name: vm.flavor,
      cpuMillis: flavor.cpu,
      memoryBytes: flavor.memory,
      diskBytes: flavor.disk,
      options: flavor.options,
    },
    image: flavor.image,
    firstBoot: planJoin({
      controllerUrl: controllerUrl(),
      caPem: authority.caPem,
      joinToken: formatJoinTokenOf(vm.joinTokenId, authority),
    }),
    labels: { epoch: epochs.tags()[0] ?? "", ...(vm.zone === null ? {} : { zone: vm.zone }) },
  };
}

/** A VM whose creation was never answered is looked for by its client token. */
async function remove(options: CallsOptions, vm: VmRow, signal: AbortSignal): Promise<void> {
  const { store, providers } = options;
  const provider = providers.open(store.sql, vm.provider);
  const id =
    vm.providerVmId === null
      ? (await provider.list(signal)).find(({ clientToken }) => clientToken === vm.id)?.id
      : parseVmId(vm.providerVmId);
  if (id !== undefined) await provider.delete(id, signal);
  signal.throwIfAborted();
  const nodeId = store.write((unit) => {
    const row = getVm(unit.sql, vm.id);
    return row === undefined
      ? undefined
      : forgetVm(unit, row, row.deleteReason ?? "it was deleted");
  });
  if (nodeId !== undefined) options.onNodeGone(nodeId);
}

function problemOf(error: unknown): { readonly code: string; readonly message: string } {
  if (error instanceof ProviderError) {
    const hint = error.hint === undefined ? "" : `; ${error.hint}`;
    return { code: error.code, message: `${error.message}${hint}` };
  }
  return { code: "INTERNAL", message: "the controller failed; its log says why" };
}
