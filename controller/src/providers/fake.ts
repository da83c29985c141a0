/** A cloud without machines, for simulations and for tests of loops: it keeps its VMs in memory, lives on a clock that
 * the caller moves, and fails by script. Nothing in it waits. */
import { ProviderError, type ProviderErrorCode } from "./errors.ts";
import { parseVmId, requireMakeable } from "./provider.ts";
import type { Provider, Vm, VmId, VmRequest, VmState } from "./provider.ts";

export type FakeFault = {
  readonly method: keyof Provider;
  readonly code: ProviderErrorCode;
  /** How often, at most [for as long as the window is open]. */
  readonly times?: number;
  /** Milliseconds of the clock: the first at which it fails, and the first at which it does not any more. */
  readonly fromMs?: number;
  readonly untilMs?: number;
  /** The work is done and only the answer is lost. */
  readonly done?: boolean;
};

export type FakeCloudOptions = {
  /** Milliseconds of any epoch. */
  readonly now: () => number;
  /** From a creation to `running`; Infinity for machines that never come up. Asked once for each VM. */
  readonly bootMs?: (request: VmRequest) => number;
  /** VMs of all controllers together; one more is PROVIDER_QUOTA [no limit]. */
  readonly quota?: number;
  readonly faults?: readonly FakeFault[];
};

/** The far side, which outlives a controller and may serve several. */
export type FakeCloud = {
  readonly addFault: (fault: FakeFault) => void;
  /** What an operator, a crash or a spot market does behind the controller's back. */
  readonly powerOff: (id: VmId) => void;
  readonly remove: (id: VmId) => void;
  readonly connect: (controllerId: string) => Provider;
};

type FakeVm = {
  readonly controllerId: string;
  readonly request: VmRequest;
  readonly runningAtMs: number;
  readonly poweredOff: boolean;
};

export function createFakeCloud(options: FakeCloudOptions): FakeCloud {
  const { now, bootMs = () => 0, quota = Infinity } = options;
  const faults = (options.faults ?? []).map((fault) => ({
    fault,
    timesLeft: fault.times ?? Infinity,
  }));
  const vms = new Map<VmId, FakeVm>();

  /** Runs the work of one call, unless the script has it fail. */
  async function call<Result>(
    method: keyof Provider,
    signal: AbortSignal,
    work: () => Result,
  ): Promise<Result> {
    signal.throwIfAborted();
    const entry = faults.find(({ fault, timesLeft }) => {
      const { fromMs = -Infinity, untilMs = Infinity } = fault;
      return fault.method === method && timesLeft > 0 && now() >= fromMs && now() < untilMs;
    });
    if (entry === undefined) return work();
    entry.timesLeft -= 1;
    if (entry.fault.done === true) work();
    throw new ProviderError(entry.fault.code, `the fake provider fails ${method} by its script`);
  }

  function create(controllerId: string, request: VmRequest): Vm {
    requireMakeable(request);
    const id = parseVmId(`${controllerId}/${request.clientToken}`);
    const known = vms.get(id);
    if (known !== undefined) return toVm(id, known, now());
    if (vms.size >= quota)
      throw new ProviderError("PROVIDER_QUOTA", `${vms.size} VMs are the limit`);
    const vm = { controllerId, request, runningAtMs: now() + bootMs(request), poweredOff: false };
    vms.set(id, vm);
    return toVm(id, vm, now());
  }

  function remove(controllerId: string, id: VmId): void {
    const vm = vms.get(id);
    if (vm !== undefined && vm.controllerId !== controllerId) {
      throw new ProviderError("PROVIDER_INVALID", `${id} belongs to another controller`);
    }
    vms.delete(id);
  }

  function describe(controllerId: string, id: VmId): Vm | undefined {
    const vm = vms.get(id);
    return vm?.controllerId === controllerId ? toVm(id, vm, now()) : undefined;
  }

  return {
    addFault: (fault) => faults.push({ fault, timesLeft: fault.times ?? Infinity }),
    powerOff: (id) => {
      const vm = vms.get(id);
      if (vm !== undefined) vms.set(id, { ...vm, poweredOff: true });
    },
    remove: (id) => vms.delete(id),
    connect: (controllerId) => ({
      create: (request, signal) => call("create", signal, () => create(controllerId, request)),
      delete: (id, signal) => call("delete", signal, () => remove(controllerId, id)),
      describe: (id, signal) => call("describe", signal, () => describe(controllerId, id)),
      list: (signal) =>
        call("list", signal, () =>
          [...vms].flatMap(([id, vm]) =>
            vm.controllerId === controllerId ? [toVm(id, vm, now())] : [],
          ),
        ),
    }),
  };
}

function toVm(id: VmId, vm: FakeVm, nowMs: number): Vm {
  const { clientToken, partition, labels } = vm.request;
  return { id, clientToken, partition, labels, state: stateOf(vm, nowMs) };
}

function stateOf(vm: FakeVm, nowMs: number): VmState {
  if (vm.poweredOff) return "stopped";
  return nowMs >= vm.runningAtMs ? "running" : "creating";
}
