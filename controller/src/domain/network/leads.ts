/** What routes lead to: the ports of services by tenant and alias. Says when a route may have become another. Pure. */
import type { IngressRoute, Service } from "@strata/protocol/agent/network";

import { toDefaultRoute } from "./ingress-routes.ts";

export type Leads = {
  /** `isRouted`: it has a route without anybody writing one. */
  readonly put: (service: Service, options: { readonly isRouted: boolean }) => void;
  readonly remove: (id: string) => void;
  /** Whether something that a route depends on has changed since the last call. */
  readonly takeChanged: () => boolean;
  readonly find: (tenant: string, alias: string) => Service | undefined;
  readonly defaults: (domain: string) => readonly IngressRoute[];
};

type Lead = { readonly service: Service; readonly isRouted: boolean; readonly text: string };

export function createLeads(): Leads {
  const leads = new Map<string, Lead>();
  const byName = new Map<string, string>();
  let isChanged = false;
  const nameOf = ({ tenant, alias }: Pick<Service, "tenant" | "alias">): string =>
    `${tenant}/${alias}`;
  return {
    put: (service, { isRouted }) => {
      const text = JSON.stringify([nameOf(service), service.ports, isRouted]);
      const before = leads.get(service.id);
      leads.set(service.id, { service, isRouted, text });
      if (before?.text === text) return;
      byName.set(nameOf(service), service.id);
      isChanged = true;
    },
    remove: (id) => {
      const before = leads.get(id);
      if (before === undefined) return;
      leads.delete(id);
      const name = nameOf(before.service);
      if (byName.get(name) === id) byName.delete(name);
      isChanged = true;
    },
    takeChanged: () => {
      const was = isChanged;
      isChanged = false;
      return was;
    },
    find: (tenant, alias) => leads.get(byName.get(nameOf({ tenant, alias })) ?? "")?.service,
    defaults: (domain) =>
      [...leads.values()].flatMap(({ service, isRouted }) =>
        isRouted ? (toDefaultRoute(service, domain) ?? []) : [],
      ),
  };
}
