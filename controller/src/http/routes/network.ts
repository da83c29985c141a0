/** What agents ask and say of the network: see protocol/agent/network.ts. */
import { NetworkReport, NetworkTable } from "@strata/protocol/agent/network";
import { z } from "zod";

import { limits } from "../../config.ts";
import { answerNothing } from "../answer.ts";
import { LongPollQuery, waitMsOf } from "../long-poll.ts";
import type { Router } from "../route.ts";
import type { Services } from "../services.ts";

const Params = z.object({ id: z.string().max(100) });
const TableQuery = LongPollQuery.extend({ boot: z.string().max(100).default("") });

export function addNetworkRoutes(router: Router, services: Services): void {
  const { network, epoch, epochs } = services;
  router.add({
    method: "get",
    path: "/v1/nodes/{id}/network",
    access: "node",
    summary: "What has changed of the network since the revision that the node has.",
    params: Params,
    query: TableQuery,
    answers: {
      200: { description: "What is new.", schema: NetworkTable },
      204: { description: "Nothing new in the time of the wait." },
    },
    handle: async ({ params: { id: nodeId }, query, c }) => {
      const table = await network.poll(nodeId, {
        epoch,
        boot: query.boot,
        revision: query.revision,
        waitMs: waitMsOf(query),
        signal: c.req.raw.signal,
        // Before somebody confirms a restored state, nodes go on with what they were told last.
        mayTell: epochs.isConfirmed,
      });
      if (table === undefined) return c.body(null, 204);
      return c.body(table, 200, { "content-type": "application/json" });
    },
  });
  router.add({
    method: "post",
    path: "/v1/nodes/{id}/network",
    access: "node",
    summary: "Takes in what an ingress has carried out, and what goes through it.",
    params: Params,
    body: NetworkReport,
    bodyBytesMax: limits.reportBytesMax,
    answers: { 204: { description: "Taken in." } },
    handle: ({ params: { id: nodeId }, body: report, c }) => {
      network.takeReport(nodeId, report);
      return answerNothing(c);
    },
  });
}
