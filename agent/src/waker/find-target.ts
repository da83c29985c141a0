/** Where a request goes whose subscription may sleep. Pure. */
import type { Endpoint, IngressRoute, Service } from "@strata/protocol/agent/network";

export type Target = {
  readonly service: string;
  readonly processId: string;
  readonly host: string;
  readonly port: number;
};

export type Choice = {
  /** It answers now. */
  readonly ready: readonly Target[];
  /** Frozen on this node, so that the node can wake it by itself. */
  readonly here: readonly Target[];
  /** Frozen elsewhere: the kernel there takes connections for it, and it answers once the controller has woken it. */
  readonly elsewhere: readonly Target[];
  /** The service that is to be woken where nothing is ready: the one with the largest share. */
  readonly asleep: string | undefined;
};

type View = {
  readonly services: ReadonlyMap<string, Service>;
  readonly nodeId: string;
};

/** All that the route leads to, the largest share first. */
export function findTargets({ backends }: IngressRoute, { services, nodeId }: View): Choice {
  const parts = backends
    .filter(({ weight }, _, all) => weight > 0 || all.every((one) => one.weight === 0))
    .toSorted((left, right) => right.weight - left.weight)
    .flatMap(({ service: id, port }) => {
      const service = services.get(id);
      return service === undefined ? [] : [{ service, port }];
    });
  const all = parts.flatMap(({ service, port }) =>
    service.endpoints.flatMap((endpoint) => {
      const target = toTarget(endpoint, { service, port, nodeId });
      return target === undefined ? [] : [{ endpoint, target }];
    }),
  );
  const pick = (fits: (endpoint: Endpoint) => boolean): readonly Target[] =>
    all.filter(({ endpoint }) => fits(endpoint)).map(({ target }) => target);
  return {
    ready: pick(({ state }) => state === "ready"),
    here: pick((one) => one.state === "frozen" && one.nodeId === nodeId),
    elsewhere: pick((one) => one.state === "frozen" && one.nodeId !== nodeId),
    asleep: parts.find(({ service }) => service.wakes)?.service.id,
  };
}

/** On its own node a process is reached without the detour over its published port. */
function toTarget(
  { nodeId, processId, address, containerAddress, ports }: Endpoint,
  part: { readonly service: Service; readonly port: string; readonly nodeId: string },
): Target | undefined {
  const { id: service } = part.service;
  const wanted = part.service.ports.find(
    ({ name, protocol }) => name === part.port && protocol === "tcp",
  );
  if (wanted === undefined) return undefined;
  if (nodeId === part.nodeId)
    return { service, processId, host: containerAddress, port: wanted.containerPort };
  const port = ports[part.port];
  return port === undefined ? undefined : { service, processId, host: address, port };
}
