import type { NodeUpgrade } from "@strata/protocol/api/nodes";

import { planUpgrades } from "../domain/upgrade.ts";
import { ControllerError } from "../errors.ts";
import { listNodes, listNodesOfPartition, type NodeRow, updateNode } from "../store/nodes.ts";
import { getPartition } from "../store/partitions.ts";
import type { Unit } from "../store/unit.ts";
import { requireNode } from "./nodes.ts";
import { requireFound } from "./upsert.ts";

/** SHA-256 of the agent that is served for an architecture; undefined where there is none. */
export type ServedAgent = (architecture: string) => string | undefined;

/** Tells the node to run the agent that is served here. Another upgrade that is under way there is forgotten; one to
 * what it runs already is soon complete and changes nothing.
 * @throws ControllerError NOT_FOUND, NODE_AWAY, AGENT_NOT_BUILT */
export function upgradeNode(unit: Unit, idOrName: string, served: ServedAgent): NodeRow {
  const row = requireNode(unit, idOrName);
  if (row.presence === "away") {
    throw new ControllerError("NODE_AWAY", `node ${row.name} is silent and cannot be upgraded`, {
      hint: "see to its agent first; an upgrade needs one that works",
    });
  }
  const upgrade = newUpgrade(unit, row, served);
  return setUpgrade(unit, row, { ...upgrade, state: "wanted" });
}

/** Has all nodes of the partition upgraded one after another, or `atOnce` at a time, until one does not succeed.
 * @throws ControllerError NOT_FOUND, AGENT_NOT_BUILT */
export function upgradePartition(
  unit: Unit,
  { partition, atOnce }: { readonly partition: string; readonly atOnce: number },
  served: ServedAgent,
): readonly NodeRow[] {
  requireFound(getPartition(unit.sql, partition), { kind: "partition", name: partition });
  const stage = { id: unit.newId(), atOnce };
  return listNodesOfPartition(unit.sql, partition).map((row) => {
    const upgrade = newUpgrade(unit, row, served);
    return setUpgrade(unit, row, { ...upgrade, stage });
  });
}

/** What is due of all upgrades: see `planUpgrades`. */
export function advanceUpgrades(unit: Unit): void {
  const rows = listNodes(unit.sql);
  for (const { nodeId, upgrade } of planUpgrades(rows, unit.nowMs)) {
    const row = rows.find(({ id }) => id === nodeId);
    if (row !== undefined) setUpgrade(unit, row, upgrade);
  }
}

/** Writes it down, says so, and has the node told. */
export function setUpgrade(unit: Unit, row: NodeRow, upgrade: NodeUpgrade | null): NodeRow {
  const next = { ...row, upgrade, revision: row.revision + 1, updatedAt: unit.now };
  const { revision, updatedAt } = next;
  updateNode(unit.sql, row.id, { upgrade, revision, updatedAt });
  unit.touchNode(row.id);
  if (upgrade?.state === row.upgrade?.state && upgrade?.id === row.upgrade?.id) return next;
  const state = upgrade === null ? "called off" : said[upgrade.state];
  const why = typeof upgrade?.reason === "string" ? `: ${upgrade.reason}` : "";
  unit.emit({
    type: `node.upgrade-${state.replace(" ", "-")}`,
    subject: row.name,
    message: `the upgrade of the agent of node ${row.name} is ${state}${why}`,
    data: { nodeId: row.id, upgrade },
  });
  return next;
}

const said: Readonly<Record<NodeUpgrade["state"], string>> = {
  queued: "queued",
  wanted: "wanted",
  settling: "settling",
  complete: "complete",
  refused: "refused",
  rolledBack: "rolled back",
};

function newUpgrade(unit: Unit, { architecture }: NodeRow, served: ServedAgent): NodeUpgrade {
  const sha256 = served(architecture);
  if (sha256 === undefined) {
    throw new ControllerError("AGENT_NOT_BUILT", `there is no agent for ${architecture} here`, {
      hint: `put it at strata-agent-linux-${architecture} in STRATA_AGENT_DIR`,
    });
  }
  return {
    id: unit.newId(),
    sha256,
    version: null,
    state: "queued",
    reason: null,
    requestedAt: unit.now,
    settling: null,
    stage: null,
  };
}
