/** The epoch of the controller's state, and the guard after a restore: until an operator confirms it, nothing is
 * decided, told or deleted from a state that may be behind the world. */
import type { Report } from "@strata/protocol/agent/messages";
import type { EpochResource } from "@strata/protocol/api/backups";
import { z } from "zod";

import { ControllerError } from "../errors.ts";
import { FOLLOWS_MAX } from "../store/copy.ts";
import type { Sql } from "../store/database.ts";
import { getMeta, setMeta } from "../store/meta.ts";
import { listNodes } from "../store/nodes.ts";
import { listProcessesOfNode } from "../store/processes.ts";
import type { Store } from "../store/unit.ts";

/** What a restore wrote down; `store/copy.ts` writes it. */
const Restored = z.object({
  at: z.string(),
  backupAt: z.string(),
  confirmedAt: z.string().nullable(),
});
const Follows = z.array(z.string()).max(FOLLOWS_MAX);

export type UnknownVm = { readonly id: string; readonly vmId: string };

export type EpochBook = {
  /** Changed by a restore. */
  readonly epoch: string;
  /** False from a restore until somebody confirms it. */
  readonly isConfirmed: () => boolean;
  /** Earlier epochs whose nodes may take this one over: for the agents, once it is confirmed. */
  readonly follows: () => readonly string[];
  /** Epochs of this installation, the present one first. */
  readonly all: () => readonly string[];
  /** @throws ControllerError EPOCH_UNCONFIRMED */
  readonly requireConfirmed: () => void;
  /** By which epoch a node goes, and, before it is confirmed, what runs there. */
  readonly noteReport: (nodeId: string, report: Pick<Report, "epoch" | "processes">) => void;
  readonly forgetNode: (nodeId: string) => void;
  /** The id that a credential claims which is not known. */
  readonly noteStranger: (id: string, nowMs: number) => void;
  /** VMs of a provider that a restored state does not know. */
  readonly noteUnknownVms: (provider: string, vms: readonly UnknownVm[]) => void;
  readonly show: () => EpochResource;
  /** Lets the normal rules hold, and the nodes that go by another epoch take this one over. Safe to repeat. */
  readonly confirm: () => void;
};

const STRANGERS_MAX = 1000;

type Seen = { readonly epoch: string; readonly processes: readonly SeenProcess[] };
type SeenProcess = { readonly processId: string; readonly state: string };

export function createEpochBook(store: Store, epoch: string): EpochBook {
  let { restored, follows } = read(store.sql);
  const nodes = new Map<string, Seen>();
  const strangers = new Map<string, number>();
  const vms = new Map<string, readonly UnknownVm[]>();
  const isConfirmed = (): boolean => restored === undefined || restored.confirmedAt !== null;
  return {
    epoch,
    isConfirmed,
    follows: () => (isConfirmed() ? follows : []),
    all: () => [epoch, ...follows],
    requireConfirmed: () => {
      if (isConfirmed()) return;
      throw new ControllerError("EPOCH_UNCONFIRMED", "this state was restored from a backup", {
        hint: "look at GET /v1/epoch, then confirm it: strata epoch confirm",
      });
    },
    noteReport: (nodeId, report) => {
      const processes = isConfirmed()
        ? []
        : report.processes.map(({ processId, state }) => ({ processId, state }));
      nodes.set(nodeId, { epoch: report.epoch, processes });
    },
    forgetNode: (nodeId) => void nodes.delete(nodeId),
    noteStranger: (id, nowMs) => {
      if (isConfirmed()) return;
      if (strangers.has(id) || strangers.size < STRANGERS_MAX) strangers.set(id, nowMs);
    },
    noteUnknownVms: (provider, unknown) => {
      if (isConfirmed()) vms.delete(provider);
      else vms.set(provider, unknown);
    },
    show: () => ({
      epoch,
      state: isConfirmed() ? "confirmed" : "restored",
      since: restored === undefined ? null : (restored.confirmedAt ?? restored.at),
      backupAt: restored?.backupAt ?? null,
      nodesBehind: nodesBehind(epoch, nodes),
      unknownProcesses: isConfirmed() ? [] : unknownProcesses(store.sql, nodes),
      unknownNodes: [...strangers].map(([nodeId, seenMs]) => ({
        nodeId,
        lastSeenAt: new Date(seenMs).toISOString(),
      })),
      unknownVms: [...vms].flatMap(([provider, list]) => list.map((vm) => ({ provider, ...vm }))),
    }),
    confirm: () => {
      confirm(store, { epoch, reported: [...nodes.values()].map((seen) => seen.epoch) });
      ({ restored, follows } = read(store.sql));
      strangers.clear();
      vms.clear();
    },
  };
}

type Stored = {
  readonly restored: z.infer<typeof Restored> | undefined;
  readonly follows: readonly string[];
};

function read(sql: Sql): Stored {
  const restored = getMeta(sql, "restored");
  return {
    restored: restored === undefined ? undefined : Restored.parse(JSON.parse(restored)),
    follows: Follows.parse(JSON.parse(getMeta(sql, "follows") ?? "[]")),
  };
}

/** Also the epochs that nodes go by and the backup does not know: a restore in between may have been lost with the
 * database that knew of it. */
function confirm(
  store: Store,
  { epoch, reported }: { readonly epoch: string; readonly reported: readonly string[] },
): void {
  store.write((unit) => {
    const { restored, follows } = read(unit.sql);
    if (restored === undefined) return;
    const known = new Set([...follows, ...reported].filter((one) => one !== epoch));
    setMeta(unit.sql, "follows", JSON.stringify([...known].slice(-FOLLOWS_MAX)));
    const confirmedAt = restored.confirmedAt ?? unit.now;
    setMeta(unit.sql, "restored", JSON.stringify({ ...restored, confirmedAt }));
    for (const node of listNodes(unit.sql)) unit.touchNode(node.id);
    unit.emit({
      type: "epoch.confirmed",
      subject: "controller",
      message: `the state restored from the backup of ${restored.backupAt} is confirmed: it is acted on from now on`,
    });
  });
}

function nodesBehind(epoch: string, nodes: ReadonlyMap<string, Seen>): string[] {
  return [...nodes].flatMap(([nodeId, seen]) => (seen.epoch === epoch ? [] : [nodeId]));
}

function unknownProcesses(
  sql: Sql,
  nodes: ReadonlyMap<string, Seen>,
): EpochResource["unknownProcesses"] {
  return [...nodes].flatMap(([nodeId, { processes }]) => {
    const known = new Set(listProcessesOfNode(sql, nodeId).map(({ id }) => id));
    return processes
      .filter(({ processId }) => !known.has(processId))
      .map((process) => ({ nodeId, ...process }));
  });
}
