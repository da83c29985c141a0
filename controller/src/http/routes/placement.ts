import { PlacementExplanation } from "@strata/protocol/api/placement";
import { z } from "zod";

import { beatIntervalMs } from "../../domain/node.ts";
import { explainWaiting } from "../../loops/explain-placement.ts";
import { readSnapshot } from "../../loops/snapshot.ts";
import { listLatestEvents } from "../../store/events.ts";
import { countNodes, getNode } from "../../store/nodes.ts";
import type { ProcessRow } from "../../store/processes.ts";
import { answerJson } from "../answer.ts";
import { PageQuery, requireProcess, toPage } from "../read.ts";
import type { Router } from "../route.ts";
import type { Services } from "../services.ts";

const Why = z.object({ nodeId: z.string(), why: z.string() });

export function addPlacementRoutes(router: Router, services: Services): void {
  router.add({
    method: "get",
    path: "/v1/processes/{id}/placement",
    access: "viewer",
    summary: "Says why a process is where it is, or of each node why it does not take it.",
    params: z.object({ id: z.string().max(100) }),
    query: PageQuery,
    answers: { 200: { description: "The explanation.", schema: PlacementExplanation } },
    handle: ({ params: { id }, query: { after, limit }, caller, c }) => {
      const view = requireProcess(services, id, caller);
      const { process, spec } = view;
      const about = { process: process.id, subscription: spec.subscription };
      if (process.nodeId !== null) {
        const nothing = { waits: null, totals: {}, nodes: [], next: null };
        return answerJson(c, {
          ...about,
          ...whereAndWhy(services, process, process.nodeId),
          ...nothing,
        });
      }
      const { partition, waits, totals, nodes } = explain(services, process);
      const rest = nodes.filter(({ node }) => node > after).slice(0, limit + 1);
      const page = toPage(rest, { limit, keyOf: ({ node }) => node, show: (node) => node });
      return answerJson(c, {
        ...about,
        partition,
        placed: null,
        waits,
        totals,
        nodes: page.items,
        next: page.next,
      });
    },
  });
}

/** Events are kept for a while alone: of an old placement only the node is known. */
function whereAndWhy(
  { store }: Services,
  { id }: ProcessRow,
  nodeId: string,
): Pick<PlacementExplanation, "partition" | "placed"> {
  const row = getNode(store.sql, nodeId);
  const partition = row?.partition ?? null;
  const node = row?.name ?? nodeId;
  const filter = { tenant: undefined, type: "process.placed", subject: id };
  const [event] = listLatestEvents(store.sql, { filter, limit: 1 });
  const { data } = Why.safeParse(event?.data);
  return event === undefined || data?.nodeId !== nodeId
    ? { partition, placed: { node, at: null, why: null } }
    : { partition, placed: { node, at: event.at, why: data.why } };
}

function explain(services: Services, process: ProcessRow): ReturnType<typeof explainWaiting> {
  const { store, clock, presence, config, usage } = services;
  const snapshot = readSnapshot(store.sql, {
    nowMs: clock.nowMs(),
    startedMs: 0,
    silentMs: (nodeId) => presence.silentMs(nodeId, clock.monotonicMs()),
    beatIntervalMs: beatIntervalMs(countNodes(store.sql), config.reportsPerSecond),
    moving: new Set(),
    usage,
    isReleased: () => true,
  });
  return explainWaiting(snapshot, process, config);
}
