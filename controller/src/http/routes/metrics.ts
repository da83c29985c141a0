import { MetricsInput, MetricsTaken } from "@strata/protocol/api/decisions";
import { Alias } from "@strata/protocol/names";
import { z } from "zod";

import { takeMetrics } from "../../operations/metrics.ts";
import { answerJson } from "../answer.ts";
import { TenantQuery, tenantOf } from "../read.ts";
import type { Router } from "../route.ts";
import type { Services } from "../services.ts";

export function addMetricRoutes(router: Router, services: Services): void {
  router.add({
    method: "post",
    path: "/v1/subscriptions/{alias}/metrics",
    access: "deployer",
    // What a program measured, some of them every second; nobody asks for a change.
    audit: "never",
    summary: "Tells the newest values of the custom metrics that the scaling policy names.",
    params: z.object({ alias: Alias }),
    query: TenantQuery,
    body: MetricsInput,
    answers: { 200: { description: "Written down.", schema: MetricsTaken } },
    handle: ({ params: { alias }, query, body: input, caller, c }) => {
      const tenant = tenantOf(caller, query.tenant);
      const { subscriptionId, taken } = services.store.write((unit) =>
        takeMetrics(unit, { tenant, alias, input }),
      );
      services.autoscaleSoon(subscriptionId);
      return answerJson(c, taken);
    },
  });
}
