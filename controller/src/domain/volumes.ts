/** Named volumes: folders on one node each, that outlive the processes that use them. Pure. */
import type { ProcessSpec } from "@strata/protocol/agent/messages";

import type { Problem } from "./process.ts";

/** What a process wants of a volume. */
export type VolumeWish = {
  readonly name: string;
  /** It may write, and nobody else may meanwhile. */
  readonly isSole: boolean;
};

export function volumesOf({ volumes = [] }: Pick<ProcessSpec, "volumes">): readonly VolumeWish[] {
  const named = volumes.flatMap((volume) => (volume.kind === "named" ? [volume] : []));
  return [...Map.groupBy(named, ({ name }) => name)].map(([name, mounts]) => ({
    name,
    isSole: mounts.some(({ readOnly, shared }) => !readOnly && shared !== true),
  }));
}

/** A fence that is higher than any before, also after the database was restored from an older one: the clock has gone
 * on meanwhile. */
export function nextFence(fence: number, nowMs: number): number {
  return Math.max(fence + 1, Math.floor(nowMs / 1000));
}

export type KnownVolume = {
  readonly isLeaving: boolean;
  /** Undefined before the first process that wants it is placed. */
  readonly node:
    | {
        readonly id: string;
        readonly name: string;
        readonly closed: "cordoned" | "draining" | "away" | undefined;
      }
    | undefined;
  /** The process that may write and has not ended. */
  readonly holder: string | undefined;
};

export type Claimant = {
  readonly id: string;
  readonly tenant: string;
  readonly wishes: readonly VolumeWish[];
};

export type Claim =
  /** On this node, or, where it is undefined, on any. */
  | { readonly kind: "free"; readonly nodeId: string | undefined }
  /** Another one of the same moment decides where the volume is. */
  | { readonly kind: "wait" }
  | { readonly kind: "refused"; readonly problem: Problem };

export function volumeKey(tenant: string, name: string): string {
  return `${tenant}/${name}`;
}

/** Where each process may go for its volumes, the first in the list first. No two are let through that could come to
 * write to one volume, or to make it on two nodes. */
export function claimVolumes(
  claimants: readonly Claimant[],
  volumes: ReadonlyMap<string, KnownVolume>,
): ReadonlyMap<string, Claim> {
  const writers = new Map<string, string>();
  const binding = new Set<string>();
  return new Map(
    claimants.map(({ id, tenant, wishes }): readonly [string, Claim] => {
      const wanted = wishes.map((wish) => {
        const key = volumeKey(tenant, wish.name);
        return { ...wish, key, volume: volumes.get(key) };
      });
      const problem = findFault(id, wanted, writers);
      if (problem !== undefined) return [id, { kind: "refused", problem }];
      if (wanted.some(({ key }) => binding.has(key))) return [id, { kind: "wait" }];
      for (const { key, isSole, volume } of wanted) {
        if (isSole) writers.set(key, id);
        if (volume?.node === undefined) binding.add(key);
      }
      const nodeId = wanted.find(({ volume }) => volume?.node !== undefined)?.volume?.node?.id;
      return [id, { kind: "free", nodeId }];
    }),
  );
}

type Wanted = VolumeWish & { readonly key: string; readonly volume: KnownVolume | undefined };

function findFault(
  id: string,
  wanted: readonly Wanted[],
  writers: ReadonlyMap<string, string>,
): Problem | undefined {
  const nodes = new Map<string, string>();
  for (const { name, key, isSole, volume } of wanted) {
    if (volume?.isLeaving === true)
      return { code: "VOLUME_ELSEWHERE", message: `volume ${name} is being deleted` };
    const node = volume?.node;
    if (node?.closed !== undefined)
      return {
        code: "VOLUME_ELSEWHERE",
        message: `volume ${name} is on node ${node.name}, which is ${node.closed}`,
      };
    const holder = volume?.holder === id ? undefined : (volume?.holder ?? writers.get(key));
    if (isSole && holder !== undefined)
      return {
        code: "VOLUME_HELD",
        message: `volume ${name} has one writer at a time, and ${holder} is it: wait, or say "shared": true where all can bear it`,
      };
    if (node !== undefined) nodes.set(node.id, `${name} is on ${node.name}`);
  }
  if (nodes.size <= 1) return undefined;
  const where = [...nodes.values()].join(", ");
  return { code: "VOLUME_ELSEWHERE", message: `its volumes are on different nodes: ${where}` };
}
