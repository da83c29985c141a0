/** What nodes are told of the network, with the revision of each part, so that an answer is what has changed. */
import type { Ingress, NetworkTable, Service } from "@strata/protocol/agent/network";

import { createChangeLog } from "./change-log.ts";

export type NetworkNode = {
  readonly id: string;
  readonly address: string;
  readonly isIngress: boolean;
};

export type Difference = Omit<NetworkTable, "epoch" | "boot">;

export type NetworkBook = {
  readonly revision: () => number;
  readonly services: () => ReadonlyMap<string, Service>;
  /** What is as it was makes no revision. */
  readonly putService: (service: Service) => void;
  readonly removeService: (id: string) => void;
  readonly setNodes: (nodes: readonly NetworkNode[]) => void;
  readonly setIngress: (ingress: Ingress) => void;
  readonly isIngress: (nodeId: string) => boolean;
  /** What the node lacks that knows all up to `since`; undefined when it is nothing. */
  readonly differenceFor: (nodeId: string, since: number) => Difference | undefined;
  /** What the table says of a process: the revision from which on it is leaving, or that it is still asked. */
  readonly leavingSince: (processId: string) => number | "asked" | undefined;
  readonly listLeaving: () => readonly string[];
};

type Entry = { readonly service: Service; readonly text: string };

export function createNetworkBook(): NetworkBook {
  let revision = 0;
  const services = new Map<string, Service>();
  const entries = createChangeLog<Entry>();
  const asked = createAskedBook();
  const nodes = createNodePart();
  let ingress: Part<Ingress> = {
    value: { routes: [], certificates: [], challenges: [] },
    text: "",
    revision: 0,
  };
  const next = (): number => (revision += 1);
  const ingressFor = (nodeId: string, since: number): Ingress | null | undefined => {
    const role = nodes.roleOf(nodeId);
    if (!role.isIngress) return role.revision > since || since === 0 ? null : undefined;
    const isNew = Math.max(role.revision, ingress.revision) > since;
    return isNew || since === 0 ? ingress.value : undefined;
  };
  return {
    revision: () => revision,
    services: () => services,
    putService: (service) => {
      const text = JSON.stringify(service);
      if (entries.get(service.id)?.text === text) return;
      const before = services.get(service.id);
      entries.put(service.id, { service, text }, next());
      services.set(service.id, service);
      asked.change(before, service, revision);
    },
    removeService: (id) => {
      const before = services.get(id);
      if (before === undefined) return;
      entries.remove(id, next());
      services.delete(id);
      asked.change(before, undefined, revision);
    },
    setNodes: (list) => nodes.set(list, next),
    setIngress: (value) => {
      const text = JSON.stringify(value);
      if (text !== ingress.text) ingress = { value, text, revision: next() };
    },
    isIngress: (nodeId) => nodes.roleOf(nodeId).isIngress,
    leavingSince: asked.leavingSince,
    listLeaving: asked.listLeaving,
    differenceFor: (nodeId, known) => {
      const since = known > revision || known < entries.floor() ? 0 : known;
      const { changed, removed } = entries.newerThan(since);
      const isNodesNew = nodes.revision() > since || since === 0;
      const seen = ingressFor(nodeId, since);
      const isNothing =
        changed.length + removed.length === 0 && !isNodesNew && seen === undefined && since !== 0;
      if (isNothing) return undefined;
      return {
        revision,
        since,
        services: changed.map(({ service }) => service),
        removed: since === 0 ? [] : removed,
        ...(isNodesNew ? { nodes: nodes.addresses() } : {}),
        ...(seen === undefined ? {} : { ingress: seen }),
      };
    },
  };
}

type Part<Value> = { readonly value: Value; readonly text: string; readonly revision: number };

type NodePart = {
  readonly set: (list: readonly NetworkNode[], next: () => number) => void;
  readonly revision: () => number;
  readonly addresses: () => { id: string; address: string }[];
  /** With the revision in which it became so. */
  readonly roleOf: (nodeId: string) => { readonly isIngress: boolean; readonly revision: number };
};

function createNodePart(): NodePart {
  let text = "";
  let addresses: { id: string; address: string }[] = [];
  let revision = 0;
  let roles = new Map<string, { readonly isIngress: boolean; readonly revision: number }>();
  const roleOf: NodePart["roleOf"] = (nodeId) =>
    roles.get(nodeId) ?? { isIngress: false, revision: 0 };
  return {
    revision: () => revision,
    addresses: () => addresses,
    roleOf,
    set: (list, next) => {
      const listed = list.map(({ id, address }) => ({ id, address }));
      const changed = JSON.stringify(listed);
      if (changed !== text) {
        text = changed;
        addresses = listed;
        revision = next();
      }
      roles = new Map(
        list.map(({ id, isIngress }) => {
          const before = roleOf(id);
          return [id, before.isIngress === isIngress ? before : { isIngress, revision: next() }];
        }),
      );
    },
  };
}

type AskedBook = Pick<NetworkBook, "leavingSince" | "listLeaving"> & {
  readonly change: (
    before: Service | undefined,
    after: Service | undefined,
    revision: number,
  ) => void;
};

/** Which processes are asked, and since when others are not any more. */
function createAskedBook(): AskedBook {
  const asked = new Set<string>();
  const leaving = new Map<string, number>();
  return {
    leavingSince: (processId) => (asked.has(processId) ? "asked" : leaving.get(processId)),
    listLeaving: () => [...leaving.keys()],
    change: (before, after, revision) => {
      const gone = new Set(before?.endpoints.map(({ processId }) => processId));
      for (const { processId, state } of after?.endpoints ?? []) {
        gone.delete(processId);
        if (state === "ready") {
          leaving.delete(processId);
          asked.add(processId);
        } else {
          asked.delete(processId);
          if (!leaving.has(processId)) leaving.set(processId, revision);
        }
      }
      for (const processId of gone) {
        asked.delete(processId);
        leaving.delete(processId);
      }
    },
  };
}
