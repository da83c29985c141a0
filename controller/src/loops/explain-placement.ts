/** Why a process is where it is, or why no node takes it, by the state of this moment. */
import type { PlacementExplanation } from "@strata/protocol/api/placement";

import type { Bin } from "../domain/autoscale/l2/bins.ts";
import { findObstacle } from "../domain/obstacle.ts";
import { type Candidate, toBin, wantedOf } from "../domain/schedule.ts";
import type { ProcessRow } from "../store/processes.ts";
import { toCandidates } from "./node-load.ts";
import { toWaiting } from "./place.ts";
import type { Snapshot } from "./snapshot.ts";

export type Explained = Pick<PlacementExplanation, "partition" | "waits" | "totals" | "nodes">;

/** What each node of its partition says to a process that is nowhere, by name. */
export function explainWaiting(
  snapshot: Snapshot,
  row: ProcessRow,
  { cpuOvercommit }: { readonly cpuOvercommit: number },
): Explained {
  const subscription = snapshot.subscriptions.find(({ id }) => id === row.subscriptionId);
  const process = subscription === undefined ? undefined : toWaiting(snapshot, row, subscription);
  if (process === undefined) return { partition: null, waits: row.problem, totals: {}, nodes: [] };
  const { partition } = process;
  const candidates = toCandidates(snapshot).filter((node) => node.partition === partition);
  const packing = snapshot.packingOf(partition);
  const bins = new Map(candidates.map((node) => [node.id, toBin(node, cpuOvercommit)]));
  const open = candidates.flatMap(({ id, closed }) =>
    closed === undefined ? (bins.get(id) ?? []) : [],
  );
  const wanted = wantedOf(process);
  const judge = (node: Candidate, bin: Bin): Explained["nodes"][number] => {
    const obstacle = findObstacle({ bin, node, packing, open }, wanted);
    return obstacle === undefined
      ? { node: node.name, code: "ROOM", message: "has room" }
      : { node: node.name, code: obstacle.code, message: obstacle.text };
  };
  const nodes = candidates
    .flatMap((node) => {
      const bin = bins.get(node.id);
      return bin === undefined ? [] : [judge(node, bin)];
    })
    .toSorted((left, right) => (left.node < right.node ? -1 : 1));
  const totals = countCodes(nodes);
  return { partition, waits: waitsFor(snapshot, row, totals), totals, nodes };
}

function countCodes(nodes: Explained["nodes"]): Explained["totals"] {
  const totals: Record<string, number> = {};
  for (const { code } of nodes) totals[code] = (totals[code] ?? 0) + 1;
  return totals;
}

function waitsFor(
  { refusalOf }: Snapshot,
  row: ProcessRow,
  totals: Explained["totals"],
): Explained["waits"] {
  if (row.desired === "stopped")
    return { code: "STOPPED", message: "it is told to stop and needs no node any more" };
  const problem = refusalOf(row) ?? row.problem;
  if (problem !== null) return problem;
  return totals["STARTS"] === undefined
    ? { code: "TURN", message: "nothing keeps it: it is placed at the next look" }
    : { code: "STARTS", message: "its node starts as many processes as it may at once" };
}
