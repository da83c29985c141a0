/** Brings the network book up to what is stored, by what has changed since the last look. */
import type { IngressRoute } from "@strata/protocol/agent/network";

import { isJobAlias } from "../domain/jobs.ts";
import { planRoutes, toIngressRoute } from "../domain/network/ingress-routes.ts";
import { createLeads, type Leads } from "../domain/network/leads.ts";
import type { NetworkBook, NetworkNode } from "../domain/network/network-book.ts";
import { serviceAddress, type ServiceNetwork } from "../domain/network/service-address.ts";
import { networkOf, toService } from "../domain/network/service.ts";
import { maySleep } from "../domain/scaling.ts";
import type { Sql } from "../store/database.ts";
import type { Kept } from "../store/kept-tables.ts";
import { hasIngress, listNodes, type NodeRow } from "../store/nodes.ts";
import { listAllPartitions } from "../store/partitions.ts";
import { listRoutes, parseRoute } from "../store/routes.ts";
import { readScalingPolicy } from "../store/scaling-policies.ts";
import {
  getSubscriptions,
  listSubscriptions,
  type SubscriptionRow,
} from "../store/subscriptions.ts";
import type { IngressExtras } from "./network.ts";

export type NetworkSettings = {
  /** Under which subscriptions have hosts of their own. */
  readonly domain: string;
  readonly serviceNetwork: ServiceNetwork;
  /** Looked at when something of an ingress has changed. */
  readonly extras: () => IngressExtras;
};

export type NetworkReader = {
  /** Does nothing while a transaction is open, which may see what others must not. */
  readonly refresh: () => void;
  /** Brings the book up to date where there are any. */
  readonly presentIngresses: () => readonly string[];
};

export function createNetworkReader(
  { sql, ...settings }: NetworkSettings & { readonly sql: Sql },
  book: NetworkBook,
): NetworkReader {
  let isBuilt = false;
  let nodes: ReadonlyMap<string, NodeRow> = new Map();
  let present: readonly string[] = [];
  const leads = createLeads();
  const readNodes = (): void => {
    const rows = listNodes(sql);
    nodes = new Map(rows.map((node) => [node.id, node]));
    const list = withRoles(sql, rows);
    present = list.filter(({ isIngress, isPresent }) => isIngress && isPresent).map(({ id }) => id);
    book.setNodes(list.map(({ id, address, isIngress }) => ({ id, address, isIngress })));
  };
  const readServices = (changed: readonly SubscriptionRow[], kept: Kept): void => {
    const wakes = createFindWakes(sql);
    const addressOfNode = (nodeId: string): string | undefined => nodes.get(nodeId)?.address;
    for (const row of changed) {
      const address = serviceAddress(settings.serviceNetwork, row);
      const isService = !isJobAlias(row.alias) && row.generation > 0 && address !== null;
      if (!isService) continue;
      const spec = kept.findSpec({ subscriptionId: row.id, generation: row.generation });
      const { ports = [] } = spec ?? {};
      const processes = kept.processes.ofSubscription(row.id);
      const service = toService({
        subscription: row,
        address,
        ports,
        processes,
        addressOfNode,
        wakes: row.deletedAt === null && wakes(row.scalingPolicy),
      });
      book.putService(service);
      leads.put(service, { isRouted: networkOf(row).route });
    }
  };
  const refresh = (): void => {
    const kept = sql.kept?.read();
    const changed = kept && sql.networkChanges?.take();
    if (kept === undefined || changed === undefined) return;
    const moved = sql.kept?.takeChanged() ?? [];
    if (changed.nodes || !isBuilt) readNodes();
    const ids = new Set([...changed.services, ...moved]);
    const found = isBuilt ? getSubscriptions(sql, [...ids]) : listSubscriptions(sql);
    readServices(found, kept);
    for (const { id } of found) ids.delete(id);
    for (const id of ids) {
      book.removeService(id);
      leads.remove(id);
    }
    if (leads.takeChanged() || changed.ingress || !isBuilt)
      book.setIngress({
        routes: planRoutes(readWritten(sql, leads), leads.defaults(settings.domain)),
        ...settings.extras(),
      });
    isBuilt = true;
  };
  return {
    refresh,
    presentIngresses: () => {
      if (!isBuilt && !hasIngress(sql)) return [];
      refresh();
      return present;
    },
  };
}

/** Routes that people wrote, as far as what they lead to is there. */
function readWritten(sql: Sql, leads: Leads): readonly IngressRoute[] {
  return listRoutes(sql).flatMap((row) => {
    const { tenant, name } = row;
    const written = { tenant, name, route: parseRoute(row) };
    return toIngressRoute(written, (alias) => leads.find(tenant, alias)) ?? [];
  });
}

type NodeWithRole = NetworkNode & { readonly isPresent: boolean };

/** A node has its own roles, or those of its partition. */
function withRoles(sql: Sql, nodes: readonly NodeRow[]): readonly NodeWithRole[] {
  const ofPartition = new Map(listAllPartitions(sql).map(({ name, roles }) => [name, roles]));
  return nodes.map(({ id, address, roles, partition, presence }) => ({
    id,
    address,
    isIngress: (roles ?? ofPartition.get(partition) ?? []).includes("ingress"),
    isPresent: presence === "present",
  }));
}

/** Whether a scaling policy lets its subscriptions sleep; each is read once. */
function createFindWakes(sql: Sql): (policy: string | null) => boolean {
  const known = new Map<string, boolean>();
  return (policy) => {
    if (policy === null) return false;
    const wakes = known.get(policy) ?? maySleep(readScalingPolicy(sql, policy));
    known.set(policy, wakes);
    return wakes;
  };
}
