/** Routes as the API shows them, with how they do. */
import { type Route, RouteInput } from "@strata/protocol/api/routes";
import { z } from "zod";

import { hasIngress } from "../store/nodes.ts";
import { listProcessesOfSubscription } from "../store/processes.ts";
import { parseRoute, type RouteRow } from "../store/routes.ts";
import { getSubscription } from "../store/subscriptions.ts";
import type { Services } from "./services.ts";
import { stored } from "./views.ts";

export function showRoute({ store }: Pick<Services, "store">, row: RouteRow): Route {
  const { tenant, name } = row;
  const route = parseRoute(row);
  const { hosts, path } = route;
  const backends = route.backends.map(({ subscription: alias, weight }) => ({
    alias,
    weight,
    ready: countReady(store.sql, { tenant, alias }),
  }));
  const ready = backends.reduce((sum, backend) => sum + (backend.ready ?? 0), 0);
  return {
    tenant,
    name,
    ...z.encode(RouteInput, route),
    hosts,
    path,
    ...stored(row),
    status: { ready, message: messageOf(backends, { hasIngress: hasIngress(store.sql) }) },
  };
}

type Backend = { readonly alias: string; readonly ready: number | undefined };

function messageOf(
  backends: readonly Backend[],
  { hasIngress }: { readonly hasIngress: boolean },
): string | null {
  const lost = backends.find(({ ready }) => ready === undefined);
  const idle = backends.find(({ ready }) => ready === 0);
  if (!hasIngress) return "no node has the role ingress";
  if (lost !== undefined) return `there is no subscription ${lost.alias}`;
  return idle === undefined ? null : `no process of ${idle.alias} is ready`;
}

/** Undefined where there is no such subscription. */
function countReady(
  sql: Services["store"]["sql"],
  key: { readonly tenant: string; readonly alias: string },
): number | undefined {
  const row = getSubscription(sql, key);
  if (row?.deletedAt !== null) return undefined;
  return listProcessesOfSubscription(sql, row.id).filter(
    ({ ready, state, drainDeadline }) => ready && state === "running" && drainDeadline === null,
  ).length;
}
