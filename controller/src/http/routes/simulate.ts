import { SimulateInput, Simulation } from "@strata/protocol/api/simulation";
import { Name } from "@strata/protocol/names";
import { z } from "zod";

import { plotSvg } from "../../domain/simulate/plot-svg.ts";
import type { TrialResult } from "../../domain/simulate/trial.ts";
import { planTrial } from "../../operations/plan-trial.ts";
import { createRunTrial } from "../../operations/run-trial.ts";
import { answerJson } from "../answer.ts";
import { TenantQuery, tenantOf } from "../read.ts";
import type { Router } from "../route.ts";
import type { Services } from "../services.ts";

const BODY_BYTES_MAX = 8 * 1024 * 1024;

const Query = z.strictObject({
  /** Left out, what the header Accept prefers. */
  format: z.enum(["json", "svg"]).optional(),
  ...TenantQuery.shape,
});

export function addSimulateRoute(router: Router, services: Services): void {
  const runTrial = createRunTrial();
  router.add({
    method: "post",
    path: "/v1/scaling-policies/{name}/simulate",
    access: "deployer",
    audit: "never",
    summary:
      "What the policy, or a changed one, would have decided: JSON, or a plot with ?format=svg.",
    params: z.object({ name: Name }),
    query: Query,
    body: SimulateInput,
    bodyBytesMax: BODY_BYTES_MAX,
    answers: { 200: { description: "What it would have decided.", schema: Simulation } },
    handle: async ({ params: { name }, query, body: input, caller, c }) => {
      const tenant = tenantOf(caller, query.tenant);
      const { store, clock } = services;
      const trial = planTrial(store.sql, { name, tenant, input, nowMs: clock.nowMs() });
      const result = await runTrial(trial, c.req.raw.signal);
      const accept = c.req.header("accept") ?? "";
      if ((query.format ?? (accept.startsWith("image/svg+xml") ? "svg" : "json")) === "json")
        return answerJson(c, toAnswer(result));
      return c.body(plotSvg(result.series), 200, { "content-type": "image/svg+xml" });
    },
  });
}

function toAnswer({ series, ...result }: TrialResult): Simulation {
  return {
    ...result,
    series: {
      name: series.name,
      points: series.points.map((point) => ({ ...point, needs: { ...point.needs } })),
    },
  };
}
