/** A subscription as nodes find it. Pure. */
import type { Port } from "@strata/protocol/agent/messages";
import type { Endpoint, Service, ServiceAccess } from "@strata/protocol/agent/network";
import { isTerminal, type ProcessState } from "@strata/protocol/agent/process-state";
import type { SubscriptionNetwork } from "@strata/protocol/api/network";

/** What a process says of where it is reached. */
export type ReachedProcess = {
  readonly id: string;
  readonly generation: number;
  readonly desired: "running" | "stopped";
  readonly state: ProcessState;
  readonly ready: boolean;
  readonly firstReadyAt: string | null;
  readonly drainDeadline: string | null;
  readonly freeze: "announced" | "ordered" | null;
  readonly nodeId: string | null;
  readonly address: string | null;
  readonly ports: readonly Port[];
};

export type ServiceSource = {
  readonly subscription: {
    readonly id: string;
    readonly tenant: string;
    readonly alias: string;
    readonly network: SubscriptionNetwork | null;
  };
  readonly address: string;
  /** Of what it runs now. */
  readonly ports: readonly Port[];
  readonly wakes: boolean;
  readonly processes: readonly ReachedProcess[];
  readonly addressOfNode: (nodeId: string) => string | undefined;
};

const defaultNetwork: SubscriptionNetwork = { access: "tenant", route: true };

/** What a subscription that says nothing means. */
export function networkOf({
  network,
}: {
  readonly network: SubscriptionNetwork | null;
}): SubscriptionNetwork {
  return network ?? defaultNetwork;
}

export function toService(source: ServiceSource): Service {
  const { subscription, address, ports, wakes } = source;
  const { id, tenant, alias } = subscription;
  return {
    id,
    tenant,
    alias,
    address,
    access: toAccess(networkOf(subscription)),
    ports: ports.map(({ name, containerPort, protocol }) => ({ name, containerPort, protocol })),
    wakes,
    endpoints: ports.length === 0 ? [] : toEndpoints(source),
  };
}

function toAccess({ access }: SubscriptionNetwork): ServiceAccess {
  return typeof access === "string" ? { kind: access } : { kind: "aliases", aliases: access };
}

function toEndpoints({ processes, addressOfNode }: ServiceSource): Endpoint[] {
  const states = processes.map((process) => stateOf(process));
  // Who was not heard of may well be gone: it is asked when nobody else is there.
  const hasHeard = processes.some(
    ({ state }, index) => state !== "suspect" && states[index] === "ready",
  );
  return processes.flatMap((process, index) => {
    const state = states[index];
    const { id, nodeId, generation } = process;
    const address = nodeId === null ? undefined : addressOfNode(nodeId);
    if (state === undefined || nodeId === null || address === undefined) return [];
    return [
      {
        processId: id,
        nodeId,
        address,
        containerAddress: process.address ?? "",
        ports: Object.fromEntries(
          process.ports.flatMap(({ name, hostPort }) =>
            hostPort === undefined ? [] : [[name, hostPort]],
          ),
        ),
        state: hasHeard && process.state === "suspect" ? "leaving" : state,
        generation,
      },
    ];
  });
}

/** Undefined for one that nobody is to ask: not ready yet, or ended. */
function stateOf(process: ReachedProcess): Endpoint["state"] | undefined {
  const { state, desired, ready, firstReadyAt, drainDeadline, freeze, address } = process;
  if (isTerminal(state) || firstReadyAt === null || address === null) return undefined;
  if (state === "pending" || state === "pulling" || state === "starting") return undefined;
  const isGoing = desired === "stopped" || state === "draining" || drainDeadline !== null;
  if (freeze !== null && !isGoing) return "frozen";
  return ready && !isGoing ? "ready" : "leaving";
}
