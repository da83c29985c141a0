import type { Port } from "@strata/protocol/agent/messages";

import { type AgentConfig, ID_RANGE_SIZE } from "../config.ts";
import { AgentError } from "../errors.ts";
import {
  allocateHostPorts,
  type BoundPort,
  isPortFree,
  portKey,
  portTaken,
} from "../network/host-ports.ts";
import { countSlots } from "../network/subnet.ts";

/** What a process holds on this node while it is not ended. */
export type Holding = { readonly slot: number; readonly ports: readonly BoundPort[] };

/** What a process held before; kept where it can be. */
export type Previous = {
  readonly slot?: number | undefined;
  readonly ports: readonly BoundPort[];
};

export type Resources = {
  /** Gives the process its slot and host ports, the same as before where it had some.
   * @throws AgentError NODE_FULL, PORT_TAKEN */
  readonly claim: (
    processId: string,
    ports: readonly Port[],
    previous: Previous,
  ) => Promise<Holding>;
  readonly release: (processId: string) => void;
};

/** Ids up to 2^32 - 2 exist, and no node runs this many containers. */
export const SLOTS_MAX = 16_384;
const PORT_ATTEMPTS = 1000;

/** Slots and host ports in memory; every process's record keeps its own, and `held` is what the records say. */
export function createResources(
  { subnet, idBase, hostPorts }: Pick<AgentConfig, "subnet" | "idBase" | "hostPorts">,
  held: ReadonlyMap<string, Holding>,
): Resources {
  const holdings = new Map(held);
  const slots = Math.min(
    countSlots(subnet),
    SLOTS_MAX,
    Math.floor((2 ** 32 - idBase) / ID_RANGE_SIZE),
  );
  // Goes round, so that an address is not given to the next container while the world still remembers the last.
  let next = Math.max(-1, ...[...held.values()].map(({ slot }) => slot)) + 1;

  const pickSlot = (): number => {
    const used = new Set([...holdings.values()].map(({ slot }) => slot));
    for (let step = 0; step < slots; step += 1) {
      const slot = (next + step) % slots;
      if (used.has(slot)) continue;
      next = slot + 1;
      return slot;
    }
    throw new AgentError("NODE_FULL", `all ${slots} addresses of this node are taken`, {
      hint: "widen STRATA_SUBNET",
      retryable: true,
    });
  };

  return {
    claim: async (processId, ports, previous) => {
      const busy = new Set<string>();
      for (let attempt = 0; attempt < PORT_ATTEMPTS; attempt += 1) {
        const others = [...holdings]
          .filter(([id]) => id !== processId)
          .map(([, holding]) => holding);
        const taken = new Set([...busy, ...others.flatMap((other) => other.ports.map(portKey))]);
        const bound = allocateHostPorts({
          ports,
          previous: previous.ports,
          taken,
          range: hostPorts,
        });
        const slot = previous.slot ?? holdings.get(processId)?.slot ?? pickSlot();
        // Held before the first wait, so that nobody else gets it meanwhile.
        holdings.set(processId, { slot, ports: bound });
        const conflict = await findBusyPort(bound);
        if (conflict === undefined) return { slot, ports: bound };
        if (ports.some(({ hostPort }) => hostPort === conflict.hostPort)) {
          holdings.set(processId, { slot, ports: [] });
          throw portTaken(portKey(conflict), "another program of the host");
        }
        busy.add(portKey(conflict));
      }
      throw new AgentError("NODE_FULL", `no free host port in ${PORT_ATTEMPTS} attempts`, {
        retryable: true,
      });
    },
    release: (processId) => void holdings.delete(processId),
  };
}

/** A published port would take the connections of a program of the host that listens on it. */
async function findBusyPort(ports: readonly BoundPort[]): Promise<BoundPort | undefined> {
  const tcp = ports.filter(({ protocol }) => protocol === "tcp");
  const free = await Promise.all(tcp.map(({ hostPort }) => isPortFree(hostPort)));
  return tcp[free.indexOf(false)];
}
