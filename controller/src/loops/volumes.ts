/** Volumes as the reconcile loop looks at them. */
import type { ProcessSpec } from "@strata/protocol/agent/messages";
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
import { keepReading } from "../store/kept-tables.ts";
import type { ProcessRow } from "../store/processes.ts";
import type { Store } from "../store/unit.ts";
import { listHeldVolumes, listHomeless } from "../store/volumes.ts";
import type { SpecOf } from "./snapshot.ts";

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
  specOf: SpecOf,
  closedOf: (
    nodeId: string,
  ) => { readonly name: string; readonly closed: Candidate["closed"] } | undefined,
): VolumeBook {
  const wishesOf: VolumeBook["wishesOf"] = (generation) => {
    const spec = specOf(generation);
    return spec === undefined ? NO_WISHES : wishesIn(spec);
  };
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

const wishes = new WeakMap<ProcessSpec, readonly VolumeWish[]>();

function wishesIn(spec: ProcessSpec): readonly VolumeWish[] {
  const known = wishes.get(spec) ?? volumesOf(spec);
  wishes.set(spec, known);
  return known;
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

const readHomeless = keepReading(["volumes"], listHomeless);

export function keepVolumes(store: Store): void {
  if (readHomeless(store.sql).length > 0) store.write(settleHomeless);
}
