import { NodeRolesInput } from "@strata/protocol/api/network";
import { DrainQuery } from "@strata/protocol/api/nodes";
import { listOf, Node } from "@strata/protocol/api/resources";
import { Name } from "@strata/protocol/names";
import { parseDurationMs } from "@strata/protocol/units";
import { z } from "zod";

import type { Admission } from "../../domain/node.ts";
import { admitNode, removeNode, requireNode, setRoles } from "../../operations/nodes.ts";
import { listNodesPage } from "../../store/nodes.ts";
import { answerJson, answerNothing, answerResource } from "../answer.ts";
import { PageQuery, toPage } from "../read.ts";
import type { Router } from "../route.ts";
import { forgetNodeInMemory, type Services } from "../services.ts";
import { nodesShown, type ShowNode } from "../show-node.ts";

const Params = z.object({ id: z.string().max(100) });
const one = { description: "The node.", schema: Node };

export function addNodeRoutes(router: Router, services: Services): void {
  const { store } = services;
  const show: ShowNode = (row) => nodesShown(services)(row);
  router.add({
    method: "get",
    path: "/v1/nodes",
    access: "viewer",
    summary: "Lists nodes by name.",
    query: z.strictObject({ ...PageQuery.shape, partition: Name.optional() }),
    answers: { 200: { description: "One page.", schema: listOf(Node) } },
    handle: ({ query: { after, limit, partition }, c }) => {
      const rows = listNodesPage(store.sql, { after, limit: limit + 1, partition });
      return answerJson(
        c,
        toPage(rows, { limit, keyOf: ({ name }) => name, show: nodesShown(services) }),
      );
    },
  });
  router.add({
    method: "get",
    path: "/v1/nodes/{id}",
    access: "viewer",
    summary: "Shows a node, by id or name.",
    params: Params,
    answers: { 200: one },
    handle: ({ params: { id }, c }) => answerResource(c, show(requireNode(store, id))),
  });
  router.add({
    method: "delete",
    path: "/v1/nodes/{id}",
    access: "operator",
    summary:
      "Forgets a node that is away or holds nothing, or any with force=true; its credential ends.",
    params: Params,
    query: z.strictObject({ force: z.enum(["true", "false"]).default("false") }),
    answers: { 204: { description: "Gone." } },
    handle: ({ params: { id: idOrName }, query, precondition, c }) => {
      const force = query.force === "true";
      const row = store.write((unit) => removeNode(unit, { idOrName, precondition, force }));
      forgetNodeInMemory(services, row.id);
      services.reconcileSoon();
      return answerNothing(c);
    },
  });
  addAdmissionRoutes(router, services, show);
  router.add({
    method: "put",
    path: "/v1/nodes/{id}/roles",
    access: "operator",
    summary: "Sets what a node does beside running processes; null follows its partition.",
    params: Params,
    body: NodeRolesInput,
    answers: { 200: one },
    handle: ({ params: { id }, body: { roles }, c }) =>
      answerResource(c, show(store.write((unit) => setRoles(unit, id, roles)))),
  });
}

function addAdmissionRoutes(
  router: Router,
  { store, reconcileSoon }: Services,
  show: ShowNode,
): void {
  const admissions: Readonly<Record<string, { admission: Admission; summary: string }>> = {
    cordon: {
      admission: "cordoned",
      summary: "The node takes no new processes; those it has stay.",
    },
    uncordon: {
      admission: "open",
      summary: "The node takes processes again; a drain is called off.",
    },
  };
  router.add({
    method: "post",
    path: "/v1/nodes/{id}/drain",
    access: "operator",
    summary: "The processes of the node are moved away; at the deadline the rest is stopped.",
    params: Params,
    query: DrainQuery,
    answers: { 200: one },
    handle: ({ params: { id }, query: { deadline }, c }) => {
      const drainMs = deadline === undefined ? undefined : parseDurationMs(deadline);
      const row = store.write((unit) => admitNode(unit, id, { admission: "draining", drainMs }));
      reconcileSoon();
      return answerResource(c, show(row));
    },
  });
  for (const [verb, { admission, summary }] of Object.entries(admissions)) {
    router.add({
      method: "post",
      path: `/v1/nodes/{id}/${verb}`,
      access: "operator",
      summary,
      params: Params,
      answers: { 200: one },
      handle: ({ params: { id }, c }) => {
        const row = store.write((unit) => admitNode(unit, id, { admission }));
        reconcileSoon();
        return answerResource(c, show(row));
      },
    });
  }
}
