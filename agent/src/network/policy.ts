import type { Service } from "@strata/protocol/agent/network";

import { type Destination, listDestinations } from "./endpoints.ts";
import type { NftObjects, NftSet } from "./nft-objects.ts";
import {
  type Listing,
  type LocalTenant,
  planContainers,
  planResolver,
  planTenant,
  planView,
  type PolicyNetwork,
  VIRTUAL_PORTS,
} from "./policy-parts.ts";
import type { LocalContainer, NetworkView } from "./view.ts";

/** All that decides who of this node's containers reaches whom. */
export type PolicyInput = {
  readonly view: NetworkView;
  readonly containers: Iterable<LocalContainer>;
  /** Where the node's own name server listens at the bridge's address; undefined without one. */
  readonly resolverPort: number | undefined;
};

export type Planner = (input: PolicyInput) => NftObjects;

/** The changing half of the node's rules; `ruleset.ts` has the standing half, which asks these sets. A question costs a
 * packet the same however many services there are: every decision is one element of a set. Pure,
 * but for what it remembers: what did not change is the same object in the next plan, and costs nothing.
 *
 * - `sources` leads a container's packets to the chain of its subscription, which accepts what its tenant (`tenant.T`)
 *   and it alone (`alias.T.A`) may reach. A container that is in no set reaches no other.
 * - `services` leads a virtual address to a chain that picks one of the processes that are ready. */
export function createPlanner(network: PolicyNetwork): Planner {
  const merge = createMerge();
  let known: KnownView | undefined;
  let tenants: ReadonlyMap<string, TenantPlan> = new Map();
  return ({ view, containers, resolverPort }) => {
    if (known?.view !== view) known = readView(network, view, known);
    const { list, own, ofAll } = known;
    const locals = [...containers];
    const before = tenants;
    tenants = new Map(
      [...Map.groupBy(locals, ({ tenant }) => tenant)].map(([tenant, those]) => {
        const aliases = new Set(those.map(({ alias }) => alias));
        const local = { tenant, aliases, services: own.get(tenant) ?? [] };
        const last = before.get(tenant);
        if (last !== undefined && isSame(last.local, local)) return [tenant, last];
        return [tenant, { local, objects: planTenant(local, list) }];
      }),
    );
    return merge([
      planResolver(network, resolverPort),
      planContainers(network, locals),
      ofAll,
      ...[...tenants.values()].map(({ objects }) => objects),
    ]);
  };
}

type TenantPlan = { readonly local: LocalTenant; readonly objects: NftObjects };

function isSame(left: LocalTenant, right: LocalTenant): boolean {
  return (
    left.aliases.size === right.aliases.size &&
    left.aliases.isSubsetOf(right.aliases) &&
    left.services.length === right.services.length &&
    left.services.every((service, index) => service === right.services[index])
  );
}

type KnownView = {
  readonly view: NetworkView;
  readonly list: Listing;
  /** Services by tenant. */
  readonly own: ReadonlyMap<string, readonly Service[]>;
  readonly ofAll: NftObjects;
};

/** A service that did not change is the same object in the next view. */
function readView(
  network: PolicyNetwork,
  view: NetworkView,
  before: KnownView | undefined,
): KnownView {
  const list =
    before?.view.nodeId === view.nodeId ? before.list : createListing(network, view.nodeId);
  const own = Map.groupBy(view.services.values(), ({ tenant }) => tenant);
  return { view, list, own, ofAll: planView(network, view, list) };
}

function createListing(network: PolicyNetwork, nodeId: string): Listing {
  const known = new WeakMap<Service, readonly Destination[]>();
  return (service) => {
    const found = known.get(service) ?? listDestinations(network, service, nodeId);
    known.set(service, found);
    return found;
  };
}

/** Puts parts together. No two have a set or a chain of the same name, but for the map of virtual ports. */
function createMerge(): (parts: readonly NftObjects[]) => NftObjects {
  let last: { readonly shares: readonly NftSet[]; readonly whole: NftSet } | undefined;
  return (parts) => {
    const sets = new Map(parts.flatMap((part) => [...part.sets]));
    const chains = new Map(parts.flatMap((part) => [...part.chains]));
    const shares = parts.flatMap((part) => part.sets.get(VIRTUAL_PORTS) ?? []);
    const isKnown =
      last?.shares.length === shares.length &&
      last.shares.every((share, index) => share === shares[index]);
    const [first] = shares;
    if (!isKnown && first !== undefined) {
      const elements = new Map(shares.flatMap((share) => [...share.elements]));
      last = { shares, whole: { ...first, elements } };
    }
    if (last !== undefined) sets.set(VIRTUAL_PORTS, last.whole);
    return { sets, chains };
  };
}
