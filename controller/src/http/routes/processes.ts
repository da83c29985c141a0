import { listOf, Process } from "@strata/protocol/api/resources";
import { Alias } from "@strata/protocol/names";
import { z } from "zod";

import { ControllerError } from "../../errors.ts";
import { getNode, getNodeByName } from "../../store/nodes.ts";
import { listProcessViews, type ProcessView } from "../../store/processes.ts";
import { answerJson } from "../answer.ts";
import {
  PageQuery,
  readProcess,
  requireProcess,
  TenantQuery,
  tenantFilterOf,
  toPage,
} from "../read.ts";
import type { Router } from "../route.ts";
import type { Services } from "../services.ts";

const Params = z.object({ id: z.string().max(100) });

export function addProcessRoutes(router: Router, services: Services): void {
  const { store } = services;
  router.add({
    method: "get",
    path: "/v1/processes",
    access: "viewer",
    summary: "Lists processes by id. An admin sees those of every tenant with ?tenant=*.",
    query: z.strictObject({
      ...PageQuery.shape,
      ...TenantQuery.shape,
      subscription: Alias.optional(),
      node: z.string().max(100).optional(),
    }),
    answers: { 200: { description: "One page.", schema: listOf(Process) } },
    handle: ({ query, caller, c }) => {
      const { after, limit, subscription, node } = query;
      const nodeId = node === undefined ? undefined : (getNodeByName(store.sql, node)?.id ?? node);
      const filter = { tenant: tenantFilterOf(caller, query.tenant), subscription, nodeId };
      const views = listProcessViews(store.sql, { filter, after, limit: limit + 1 });
      const show = (view: ProcessView): Process => readProcess(services, view);
      return answerJson(c, toPage(views, { limit, keyOf: ({ process }) => process.id, show }));
    },
  });
  router.add({
    method: "get",
    path: "/v1/processes/{id}",
    access: "viewer",
    summary: "Shows a process.",
    params: Params,
    answers: { 200: { description: "The process.", schema: Process } },
    handle: ({ params: { id }, caller, c }) =>
      answerJson(c, readProcess(services, requireProcess(services, id, caller))),
  });
}

/** The present node that holds the process. @throws ControllerError PROCESS_NOT_RUNNING, NODE_AWAY */
export function requireNodeOf({ store }: Services, { process }: ProcessView): string {
  const node = process.nodeId === null ? undefined : getNode(store.sql, process.nodeId);
  if (node === undefined) {
    throw new ControllerError("PROCESS_NOT_RUNNING", `process ${process.id} is on no node yet`, {
      hint: "its reason says what it waits for: GET /v1/processes/{id}",
    });
  }
  if (node.presence === "present") return node.id;
  throw new ControllerError("NODE_AWAY", `node ${node.name} is silent`, {
    hint: "try again when GET /v1/nodes shows it ready",
    retryable: true,
  });
}
