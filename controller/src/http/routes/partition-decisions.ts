import { PartitionDecision } from "@strata/protocol/api/providers";
import { listOf } from "@strata/protocol/api/resources";
import { Name } from "@strata/protocol/names";
import { z } from "zod";

import { limits } from "../../config.ts";
import { requireFound } from "../../operations/upsert.ts";
import {
  listPartitionDecisions,
  type PartitionDecisionRow,
} from "../../store/partition-scalers.ts";
import { getPartition } from "../../store/partitions.ts";
import { answerJson } from "../answer.ts";
import { toPage } from "../read.ts";
import type { Router } from "../route.ts";
import type { Services } from "../services.ts";

const Query = z.strictObject({
  /** Of a decision: those before it come. */
  after: z.coerce.number().int().min(1).default(Number.MAX_SAFE_INTEGER),
  limit: z.coerce.number().int().min(1).max(limits.pageMax).default(100),
});

export function addPartitionDecisionRoute(router: Router, services: Services): void {
  const { sql } = services.store;
  router.add({
    method: "get",
    path: "/v1/partitions/{name}/decisions",
    access: "viewer",
    summary: "Why the partition has the nodes that it has: what level 2 decided, newest first.",
    params: z.object({ name: Name }),
    query: Query,
    answers: { 200: { description: "One page.", schema: listOf(PartitionDecision) } },
    handle: ({ params: { name }, query: { after, limit }, c }) => {
      requireFound(getPartition(sql, name), { kind: "partition", name });
      const rows = listPartitionDecisions(sql, {
        partition: name,
        before: after,
        limit: limit + 1,
      });
      return answerJson(c, toPage(rows, { limit, keyOf: ({ id }) => String(id), show }));
    },
  });
}

function show({ partition: _partition, ...row }: PartitionDecisionRow): PartitionDecision {
  return {
    ...row,
    at: new Date(row.at).toISOString(),
    actions: [...row.actions],
    trace: { ...row.trace },
  };
}
