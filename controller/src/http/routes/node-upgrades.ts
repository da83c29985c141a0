import { StagedUpgradeInput } from "@strata/protocol/api/nodes";
import { listOf, Node } from "@strata/protocol/api/resources";
import { z } from "zod";

import {
  advanceUpgrades,
  type ServedAgent,
  upgradeNode,
  upgradePartition,
} from "../../operations/upgrades.ts";
import { getNode } from "../../store/nodes.ts";
import type { AgentBinaries } from "../agent-binaries.ts";
import { answerJson } from "../answer.ts";
import type { Router } from "../route.ts";
import type { Services } from "../services.ts";
import { nodesShown } from "../show-node.ts";

const Params = z.object({ id: z.string().max(100) });

/** Other versions of the agent, from the controller. */
export function addNodeUpgradeRoutes(
  router: Router,
  services: Services,
  binaries: AgentBinaries,
): void {
  const { store } = services;
  router.add({
    method: "post",
    path: "/v1/nodes/{id}/upgrade",
    access: "operator",
    summary: "Has the node run the agent that is served here; its containers go on.",
    params: Params,
    answers: { 202: { description: "The node; `upgrade` says how far it is.", schema: Node } },
    handle: async ({ params: { id }, c }) => {
      const served = await findServed(binaries);
      const row = store.write((unit) => upgradeNode(unit, id, served));
      return answerJson(c, nodesShown(services)(row), 202);
    },
  });
  router.add({
    method: "post",
    path: "/v1/nodes/upgrade",
    access: "operator",
    summary: "The same for all nodes of a partition in turn; stops at the first that fails.",
    body: StagedUpgradeInput,
    answers: { 202: { description: "The nodes.", schema: listOf(Node) } },
    handle: async ({ body, c }) => {
      const served = await findServed(binaries);
      const rows = store.write((unit) => {
        const told = upgradePartition(unit, body, served);
        advanceUpgrades(unit);
        return told;
      });
      const show = nodesShown(services);
      const items = rows.map((row) => show(getNode(store.sql, row.id) ?? row));
      return answerJson(c, { items, next: null }, 202);
    },
  });
}

async function findServed(binaries: AgentBinaries): Promise<ServedAgent> {
  const amd64 = await binaries.describe("linux-amd64");
  const arm64 = await binaries.describe("linux-arm64");
  const served = new Map([
    ["amd64", amd64?.sha256],
    ["arm64", arm64?.sha256],
  ]);
  return (architecture) => served.get(architecture);
}
