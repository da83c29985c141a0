import { Ingress, NetworkTable, Service } from "@strata/protocol/agent/network";
import { z } from "zod";

/** All that this node knows of the network. A service that did not change is the same object in the next state. */
export type NetworkState = {
  readonly epoch: string;
  /** The life of the controller whose revision it is; empty, none. */
  readonly boot: string;
  /** 0: nothing was ever told. */
  readonly revision: number;
  readonly services: ReadonlyMap<string, Service>;
  readonly nodes: readonly NodeAddress[];
  /** Null: this node is no ingress. */
  readonly ingress: Ingress | null;
};

type NodeAddress = NonNullable<NetworkTable["nodes"]>[number];

/** The file in which it outlives the agent. */
export const KeptNetwork = z.object({
  version: z.literal(1),
  epoch: z.string(),
  boot: z.string(),
  revision: z.int().nonnegative(),
  services: z.array(Service),
  nodes: NetworkTable.shape.nodes.unwrap(),
  ingress: Ingress.nullable(),
});
export type KeptNetwork = z.infer<typeof KeptNetwork>;

export function emptyNetwork(epoch: string): NetworkState {
  return { epoch, boot: "", revision: 0, services: new Map(), nodes: [], ingress: null };
}

export function keepNetwork({ services, nodes, ...rest }: NetworkState): KeptNetwork {
  return { version: 1, ...rest, services: [...services.values()], nodes: [...nodes] };
}

export function restoreNetwork(kept: KeptNetwork): NetworkState {
  const { epoch, boot, revision, nodes, ingress } = kept;
  const services = new Map(kept.services.map((service) => [service.id, service]));
  return { epoch, boot, revision, services, nodes, ingress };
}

/** Merges a message of the controller into what is known. Pure. Undefined when it cannot be: it is a difference to
 * something else, and the whole has to be asked for. */
export function applyTable(known: NetworkState, message: NetworkTable): NetworkState | undefined {
  const { epoch, boot, revision, since, removed } = message;
  const isWhole = since === 0;
  const isSameLife = epoch === known.epoch && boot === known.boot;
  const isNext = isSameLife && since === known.revision;
  if (!isWhole && !isNext) return undefined;
  const services = new Map(isWhole ? [] : known.services);
  for (const id of removed) services.delete(id);
  for (const service of message.services) services.set(service.id, service);
  const { nodes = known.nodes, ingress = known.ingress } = message;
  return { epoch, boot, revision, services, nodes, ingress };
}
