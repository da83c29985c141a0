import type { IngressRoute } from "@strata/protocol/agent/network";

import type { RoutePlan, ServerPlan } from "./plan-ingress.ts";
import { backendName, cookieKey, renderServer } from "./render-config.ts";

/** A server as HAProxy has it. */
export type ActualServer = Omit<ServerPlan, "service">;

/** By the names of backends and servers. */
export type ActualServers = ReadonlyMap<string, ReadonlyMap<string, ActualServer>>;

/** A command, and what there is once it was carried out; no server: it is gone. */
export type ServerChange = {
  readonly kind: "add" | "change" | "remove";
  readonly commands: readonly string[];
  readonly backend: string;
  readonly name: string;
  readonly server: ActualServer | undefined;
};

/** How servers come to what is planned, without a reload. Pure. Those that come are first: there is always somewhere to
 * go. One that goes takes nothing new from the first change on, and is removed when nothing is left on it: until then
 * HAProxy refuses, and it is planned again. Backends that HAProxy does not have are left out. */
export function planChanges(
  actual: ActualServers,
  routes: readonly RoutePlan[],
): readonly ServerChange[] {
  const changes = routes.flatMap((plan) => {
    const servers = actual.get(backendName(plan.route));
    return servers === undefined ? [] : planBackend(plan, servers);
  });
  return changes.toSorted((a, b) => rank(a) - rank(b));
}

function rank({ kind, server }: ServerChange): number {
  if (kind === "add") return 0;
  if (kind === "remove") return 3;
  return server?.takesNew === true ? 1 : 2;
}

function planBackend(
  { route, servers }: RoutePlan,
  actual: ReadonlyMap<string, ActualServer>,
): readonly ServerChange[] {
  const backend = backendName(route);
  const changes = [...servers].flatMap(([name, wanted]): readonly ServerChange[] => {
    const server = toActual(wanted);
    const before = actual.get(name);
    if (before !== undefined) {
      const commands = changeCommands(`${backend}/${name}`, before, server);
      return commands.length === 0 ? [] : [{ kind: "change", commands, backend, name, server }];
    }
    // Nothing is on one that was never there.
    if (!wanted.takesNew) return [];
    const commands = addCommands(route, name, wanted);
    return [{ kind: "add", commands, backend, name, server }];
  });
  const gone = [...actual].filter(([name]) => !servers.has(name));
  return [...changes, ...gone.flatMap(([name, before]) => removal({ backend, name, before }))];
}

/** Once it was carried out. */
export function toActual({ address, port, weight, takesNew }: ServerPlan): ActualServer {
  return { address, port, weight, takesNew };
}

function addCommands(route: IngressRoute, name: string, wanted: ServerPlan): readonly string[] {
  const backend = backendName(route);
  return [
    `add server ${backend}/${name} ${renderServer(wanted, route)}`,
    // HAProxy 2.6 gives a server that comes at run time no cookie, but one by one for the backend's key.
    ...(route.sticky && route.tcpPort === undefined
      ? [`set dynamic-cookie-key backend ${backend} ${cookieKey(route)}`]
      : []),
    `set server ${backend}/${name} state ready`,
  ];
}

function changeCommands(
  place: string,
  before: ActualServer,
  after: ActualServer,
): readonly string[] {
  const moved = before.address !== after.address || before.port !== after.port;
  return [
    ...(moved ? [`set server ${place} addr ${after.address} port ${after.port}`] : []),
    ...(before.weight === after.weight ? [] : [`set server ${place} weight ${after.weight}`]),
    ...(before.takesNew === after.takesNew
      ? []
      : [`set server ${place} state ${after.takesNew ? "ready" : "maint"}`]),
  ];
}

type Leaving = { readonly backend: string; readonly name: string; readonly before: ActualServer };

function removal({ backend, name, before }: Leaving): readonly ServerChange[] {
  const place = `${backend}/${name}`;
  const server = { ...before, takesNew: false };
  const stop: ServerChange = {
    kind: "change",
    commands: [`set server ${place} state maint`],
    backend,
    name,
    server,
  };
  const commands = [`del server ${place}`];
  const remove: ServerChange = { kind: "remove", commands, backend, name, server: undefined };
  return before.takesNew ? [stop, remove] : [remove];
}
