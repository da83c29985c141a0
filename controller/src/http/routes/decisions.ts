import { Decision } from "@strata/protocol/api/decisions";
import { listOf } from "@strata/protocol/api/resources";
import { Alias } from "@strata/protocol/names";
import { z } from "zod";

import { limits } from "../../config.ts";
import { requireFound } from "../../operations/upsert.ts";
import { type DecisionRow, listDecisions } from "../../store/decisions.ts";
import { getSubscription } from "../../store/subscriptions.ts";
import { answerJson } from "../answer.ts";
import { TenantQuery, tenantOf, toPage } from "../read.ts";
import type { Router } from "../route.ts";
import type { Services } from "../services.ts";

const yesOrNo = z
  .enum(["true", "false"])
  .default("false")
  .transform((text) => text === "true");

const Query = z.strictObject({
  after: z
    .string()
    .regex(/^\d{1,15}$/, "write the `next` of the page before")
    .optional(),
  limit: z.coerce.number().int().min(1).max(limits.pageMax).default(20),
  /** Only those that wished for another count. */
  changes: yesOrNo,
  /** Also what each was decided from. */
  inputs: yesOrNo,
  ...TenantQuery.shape,
});

export function addDecisionRoutes(router: Router, services: Services): void {
  router.add({
    method: "get",
    path: "/v1/subscriptions/{alias}/decisions",
    access: "viewer",
    summary: "Why the subscription has as many processes as it has: decisions, newest first.",
    params: z.object({ alias: Alias }),
    query: Query,
    answers: { 200: { description: "One page.", schema: listOf(Decision) } },
    handle: ({ params: { alias }, query, caller, c }) => {
      const { sql } = services.store;
      const tenant = tenantOf(caller, query.tenant);
      const row = requireFound(getSubscription(sql, { tenant, alias }), {
        kind: "subscription",
        name: alias,
      });
      const { after, limit, changes, inputs } = query;
      const before = after === undefined ? undefined : Number(after);
      const rows = listDecisions(sql, row.id, { before, limit: limit + 1, changes });
      return answerJson(
        c,
        toPage(rows, {
          limit,
          keyOf: ({ id }) => String(id),
          show: (decision) => showDecision(decision, inputs),
        }),
      );
    },
  });
}

function showDecision(row: DecisionRow, inputs: boolean): Decision {
  const { id, current, desired, acted, limiter, reason, trace, history } = row;
  return {
    id,
    at: new Date(row.at).toISOString(),
    from: current,
    desired,
    acted,
    limiter,
    reason,
    policy: { name: row.policyName, revision: row.policyRevision },
    trace: {
      ...trace,
      bounds: { ...trace.bounds, schedules: [...trace.bounds.schedules] },
      metrics: [...trace.metrics],
      limits: [...trace.limits],
    },
    ...(inputs ? { inputs: { ...history } } : {}),
  };
}
