/** What several routes read from the store to show it. */
import type { ScalingPolicy } from "@strata/protocol/api/autoscale";
import type { Process, Subscription } from "@strata/protocol/api/resources";
import { z } from "zod";

import type { Principal } from "../access/authenticate.ts";
import { limits } from "../config.ts";
import { noticeOf } from "../domain/autoscale/l1/notice.ts";
import { defaultHost, mainPort } from "../domain/network/ingress-routes.ts";
import { serviceAddress } from "../domain/network/service-address.ts";
import { networkOf } from "../domain/network/service.ts";
import { isAutoscaled, wishedProcesses } from "../domain/scaling.ts";
import { ControllerError } from "../errors.ts";
import { getNode } from "../store/nodes.ts";
import {
  getProcessView,
  listProcessesOfSubscription,
  type ProcessRow,
  type ProcessView,
} from "../store/processes.ts";
import { listRoutesTo, parseRoute } from "../store/routes.ts";
import { getScaler } from "../store/scalers.ts";
import { readScalingPolicy } from "../store/scaling-policies.ts";
import { getGeneration, getSubscription, type SubscriptionRow } from "../store/subscriptions.ts";
import type { Services } from "./services.ts";
import { readRolloutStatus } from "./show-rollout.ts";
import { isFrozen, showProcess, showSubscription } from "./views.ts";

/** `?after=&limit=` of every list. */
export const PageQuery = z.strictObject({
  after: z.string().max(256).default(""),
  limit: z.coerce.number().int().min(1).max(limits.pageMax).default(100),
});

/** Only an admin reaches into another tenant. */
export const TenantQuery = z.strictObject({ tenant: z.string().max(63).optional() });

/** @throws ControllerError FORBIDDEN */
export function tenantOf(caller: Principal, asked: string | undefined): string {
  if (asked === undefined || asked === caller.tenant) return caller.tenant;
  if (caller.scope === "admin") return asked;
  throw new ControllerError("FORBIDDEN", `the token is of tenant ${caller.tenant}`, {
    hint: "leave ?tenant= out, or ask an admin for a token of that tenant",
  });
}

/** As `tenantOf`; `*` means every tenant and gives undefined. */
export function tenantFilterOf(caller: Principal, asked: string | undefined): string | undefined {
  const tenant = tenantOf(caller, asked);
  return tenant === "*" ? undefined : tenant;
}

/** One page of rows that were read with one more than asked for. */
export function toPage<Row, Item>(
  rows: readonly Row[],
  options: {
    readonly limit: number;
    readonly keyOf: (row: Row) => string;
    readonly show: (row: Row) => Item;
  },
): { items: Item[]; next: string | null } {
  const shown = rows.slice(0, options.limit);
  const last = shown.at(-1);
  const next = rows.length > options.limit && last !== undefined ? options.keyOf(last) : null;
  return { items: shown.map(options.show), next };
}

export function readSubscription(services: Services, row: SubscriptionRow): Subscription {
  const { sql } = services.store;
  const policy = readScalingPolicy(sql, row.scalingPolicy);
  const processes = listProcessesOfSubscription(sql, row.id);
  const count = row.deletedAt === null ? wishedProcesses(row.processes, policy) : 0;
  return showSubscription(row, {
    processes,
    count,
    rollout: readRolloutStatus(sql, row, { processes, count }),
    held: services.isHeld(),
    address: serviceAddress(services.config.serviceNetwork, row),
    hosts: row.deletedAt === null ? readHosts(services, row) : [],
    notice:
      scalingNotice(services, row, policy) ??
      ratioNotice(services, row) ??
      sleepNotice(row, policy, processes),
  });
}

/** Its own where it has one, and those of the routes that lead to it. */
function readHosts({ store, config }: Services, row: SubscriptionRow): readonly string[] {
  const ports = getGeneration(store.sql, { subscriptionId: row.id, generation: row.generation })
    ?.spec.ports;
  const isRouted = networkOf(row).route && mainPort(ports ?? []) !== undefined;
  const own = isRouted ? [defaultHost(row, config.domain)] : [];
  const routes = listRoutesTo(store.sql, row);
  return [...new Set([...own, ...routes.flatMap((route) => parseRoute(route).hosts)])];
}

function scalingNotice(
  { store, clock }: Services,
  { id, deletedAt }: SubscriptionRow,
  policy: ScalingPolicy | undefined,
): string | null {
  if (policy === undefined || deletedAt !== null || !isAutoscaled(policy)) return null;
  const state = getScaler(store.sql, id)?.state;
  return state === undefined ? null : noticeOf(state, policy, clock.nowMs());
}

/** Level 1 has sent all its processes away, or all but one that is frozen. */
function sleepNotice(
  { processes: count, deletedAt }: SubscriptionRow,
  policy: ScalingPolicy | undefined,
  processes: readonly ProcessRow[],
): string | null {
  if (policy === undefined || deletedAt !== null || count > 0 || !isAutoscaled(policy)) return null;
  const depth = processes.some(isFrozen) ? "frozen" : "stopped";
  return `asleep (${depth}): a request wakes it`;
}

/** Its count stays as it was when the other one went. */
function ratioNotice(
  { store }: Services,
  { tenant, ratio, deletedAt }: SubscriptionRow,
): string | null {
  if (ratio === null || deletedAt !== null) return null;
  const other = getSubscription(store.sql, { tenant, alias: ratio.of });
  return other?.deletedAt === null
    ? null
    : `its count stays as it is: there is no subscription ${ratio.of} for its ratio any more`;
}

export function readProcess(services: Services, view: ProcessView): Process {
  const { nodeId, id } = view.process;
  return showProcess(view, {
    node: nodeId === null ? undefined : getNode(services.store.sql, nodeId),
    metrics: services.samples.get(nodeId ?? "")?.get(id),
  });
}

/** One that the caller may see. @throws ControllerError NOT_FOUND */
export function requireProcess(services: Services, id: string, caller: Principal): ProcessView {
  const view = getProcessView(services.store.sql, id);
  if (view !== undefined && (caller.scope === "admin" || view.spec.tenant === caller.tenant))
    return view;
  throw new ControllerError("NOT_FOUND", `there is no process ${id}`, {
    hint: "see GET /v1/processes",
  });
}
