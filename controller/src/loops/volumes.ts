/** Volumes as the reconcile loop looks at them. */
import { isTerminal } from "@strata/protocol/agent/process-state";

import type { Candidate } from "../domain/schedule.ts";
import {
  type Claim,
  claimVolumes,
  type KnownVolume,
  volumeKey,
  type VolumeWish,
  volumesOf,
} from "../domain/volumes.ts";
import { settleHomeless } from "../operations/volumes.ts";
import type { Sql } from "../store/database.ts";
import { generationKey, type GenerationRow, type ProcessRow } from "../store/processes.ts";
import type { Store } from "../store/unit.ts";
import { listHeldVolumes, listHomeless } from "../store/volumes.ts";

type Generation = Pick<ProcessRow, "subscriptionId" | "generation">;

export type VolumeBook = {
  /** Of one process of the generation. */
  readonly wishesOf: (generation: Generation) => readonly VolumeWish[];
  /** What it writes to is no longer the volume: that was given up, and is made anew elsewhere. */
  readonly isOvertaken: (row: ProcessRow, tenant: string) => boolean;
  /** Where the waiting processes may go, the first first; those without volumes are left out. */
  readonly claim: (
    waiting: readonly { readonly row: ProcessRow; readonly tenant: string }[],
  ) => ReadonlyMap<string, Claim>;
};

const NO_WISHES: readonly VolumeWish[] = [];

export function readVolumes(
  sql: Sql,
  inUse: readonly Pick<GenerationRow, "subscriptionId" | "generation" | "spec">[],
  closedOf: (
    nodeId: string,
  ) => { readonly name: string; readonly closed: Candidate["closed"] } | undefined,
): VolumeBook {
  const wishes = new Map(
    inUse.flatMap((row) => {
      const wanted = volumesOf(row.spec);
      return wanted.length === 0 ? [] : [[generationKey(row), wanted] as const];
    }),
  );
  const wishesOf: VolumeBook["wishesOf"] = (generation) =>
    wishes.size === 0 ? NO_WISHES : (wishes.get(generationKey(generation)) ?? NO_WISHES);
  let known: ReadonlyMap<string, KnownVolume> | undefined;
  const read = (): ReadonlyMap<string, KnownVolume> => (known ??= readKnown(sql, closedOf));
  return {
    wishesOf,
    isOvertaken: (row, tenant) =>
      wishesOf(row).some(({ name }) => {
        const volume = read().get(volumeKey(tenant, name));
        return volume !== undefined && volume.node?.id !== row.nodeId;
      }),
    claim: (waiting) => {
      const claimants = waiting.flatMap(({ row, tenant }) => {
        const wanted = wishesOf(row);
        return wanted.length === 0 ? [] : [{ id: row.id, tenant, wishes: wanted }];
      });
      if (claimants.length === 0) return new Map();
      return claimVolumes(claimants, read());
    },
  };
}

function readKnown(
  sql: Sql,
  closedOf: Parameters<typeof readVolumes>[2],
): ReadonlyMap<string, KnownVolume> {
  return new Map(
    listHeldVolumes(sql).map(({ volume, state }) => {
      const { tenant, name, nodeId, holder, deletedAt } = volume;
      const node = nodeId === null ? undefined : closedOf(nodeId);
      return [
        volumeKey(tenant, name),
        {
          isLeaving: deletedAt !== null,
          node: nodeId === null || node === undefined ? undefined : { id: nodeId, ...node },
          holder: state === null || isTerminal(state) ? undefined : (holder ?? undefined),
        },
      ];
    }),
  );
}

/** What is on a node with its volumes stays there as long as the node lets it. */
export function isBound(book: VolumeBook, row: ProcessRow): boolean {
  return book.wishesOf(row).length > 0;
}

/** No new one can begin before the old one has ended. */
export function isExclusive(book: VolumeBook, rows: readonly ProcessRow[]): boolean {
  return rows.some((row) => book.wishesOf(row).some(({ isSole }) => isSole));
}

export function keepVolumes(store: Store): void {
  if (listHomeless(store.sql).length > 0) store.write(settleHomeless);
}
