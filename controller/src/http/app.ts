import { OpenAPIHono } from "@hono/zod-openapi";
import type { RegistryEnv } from "@strata/registry/http/env";
import type { Hono } from "hono";
import { routePath } from "hono/route";

import { createRefuseFormerNode } from "../access/former-nodes.ts";
import { ControllerError } from "../errors.ts";
import { createAgentBinaries } from "./agent-binaries.ts";
import { addressOf, createAudited } from "./audited.ts";
import { toProblem } from "./problem.ts";
import { createRouter, type RouteEntry } from "./route.ts";
import { addAgentBinaryRoute } from "./routes/agent-binary.ts";
import { addAgentRoutes } from "./routes/agent.ts";
import { addApplyRoute } from "./routes/apply.ts";
import { addAuditRoutes } from "./routes/audit.ts";
import { addBackupRoutes } from "./routes/backups.ts";
import { addCartridgeRoutes } from "./routes/cartridges.ts";
import { addCertificateRoutes } from "./routes/certificates.ts";
import { addDecisionRoutes } from "./routes/decisions.ts";
import { addDeltaRoute } from "./routes/deltas.ts";
import { addEpochRoutes } from "./routes/epoch.ts";
import { addEventRoutes } from "./routes/events.ts";
import { addGeneralRoutes } from "./routes/general.ts";
import { addJobRoutes } from "./routes/jobs.ts";
import { addLogSearchRoute } from "./routes/log-search.ts";
import { addMetricsQueryRoutes } from "./routes/metrics-query.ts";
import { addMetricsScrapeRoutes } from "./routes/metrics-scrape.ts";
import { addMetricRoutes } from "./routes/metrics.ts";
import { addNetworkRoutes } from "./routes/network.ts";
import { addNodeUpgradeRoutes } from "./routes/node-upgrades.ts";
import { addNodeRoutes } from "./routes/nodes.ts";
import { addPartitionDecisionRoute } from "./routes/partition-decisions.ts";
import { addPartitionRoutes } from "./routes/partitions.ts";
import { addPeerRoutes } from "./routes/peers.ts";
import { addPlacementRoutes } from "./routes/placement.ts";
import { addProcessStreamRoutes } from "./routes/process-streams.ts";
import { addProcessRoutes } from "./routes/processes.ts";
import { addProviderRoutes } from "./routes/providers.ts";
import { addRolloutRoutes } from "./routes/rollouts.ts";
import { addRouteRoutes } from "./routes/routes.ts";
import { addNodeSecretRoute, addSecretRoutes } from "./routes/secrets.ts";
import { addSimulateRoute } from "./routes/simulate.ts";
import { addStoreRoutes } from "./routes/store.ts";
import { addSubscriptionRoutes } from "./routes/subscriptions.ts";
import { addTenantRoutes } from "./routes/tenants.ts";
import { addTokenRoutes } from "./routes/tokens.ts";
import { addVolumeRoutes } from "./routes/volumes.ts";
import { addWakeRoute } from "./routes/wake.ts";
import type { Services } from "./services.ts";
import { createStoreGuard } from "./store-guard.ts";

export type App = {
  readonly app: OpenAPIHono;
  /** Every route with its access rule; the registry's under /v2/ are its own. */
  readonly routes: readonly RouteEntry[];
};

/** The whole HTTP face of the controller. `registry` serves /v2/. */
export function createApp(services: Services, registry: Hono<RegistryEnv> | undefined): App {
  const app = new OpenAPIHono();
  app.use("*", async (c, next) => {
    const startedMs = services.clock.monotonicMs();
    const { method, path } = c.req;
    const [traceparent, tracestate] = [c.req.header("traceparent"), c.req.header("tracestate")];
    await services.tracing.request({ method, path, traceparent, tracestate }, async () => {
      await next();
      return { route: routePath(c, -1), status: c.res.status };
    });
    services.telemetry.requestDone(
      { method: c.req.method, route: routePath(c, -1), status: String(c.res.status) },
      (services.clock.monotonicMs() - startedMs) / 1000,
    );
  });
  const audited = createAudited(services);
  const router = createRouter(app, {
    gate: services.gate,
    audited,
    addressOf: (c) => addressOf(c, services.config),
    refuseFormer: createRefuseFormerNode(services.store.sql, () => services.epoch),
  });
  addGeneralRoutes(router, services);
  addMetricsScrapeRoutes(router, services);
  const binaries = createAgentBinaries(services.config.agentDirectory);
  addAgentBinaryRoute(router, binaries);
  addPartitionRoutes(router, services);
  addPartitionDecisionRoute(router, services);
  addProviderRoutes(router, services);
  addCartridgeRoutes(router, services);
  addSubscriptionRoutes(router, services);
  addRouteRoutes(router, services);
  addRolloutRoutes(router, services);
  addJobRoutes(router, services);
  addSecretRoutes(router, services);
  addCertificateRoutes(router, services);
  addDecisionRoutes(router, services);
  addMetricRoutes(router, services);
  addMetricsQueryRoutes(router, services);
  addLogSearchRoute(router, services);
  addSimulateRoute(router, services);
  addProcessRoutes(router, services);
  addPlacementRoutes(router, services);
  addProcessStreamRoutes(router, services);
  // Before the routes with {id}, where "join" would be one.
  addAgentRoutes(router, services);
  addNetworkRoutes(router, services);
  addDeltaRoute(router, services);
  addPeerRoutes(router, services);
  addWakeRoute(router, services);
  addNodeSecretRoute(router, services);
  addNodeUpgradeRoutes(router, services, binaries);
  addNodeRoutes(router, services);
  addTokenRoutes(router, services);
  addVolumeRoutes(router, services);
  addTenantRoutes(router, services);
  addAuditRoutes(router, services);
  addApplyRoute(router, services);
  addStoreRoutes(router, services);
  addEventRoutes(router, services);
  addEpochRoutes(router, services);
  addBackupRoutes(router, services);
  addOpenApi(app);
  if (registry !== undefined) {
    app.use("/v2/*", createStoreGuard(services, audited));
    app.route("/", registry);
  }
  addErrors(app, services);
  return { app, routes: router.entries };
}

function addOpenApi(app: OpenAPIHono): void {
  app.openAPIRegistry.registerComponent("securitySchemes", "bearer", {
    type: "http",
    scheme: "bearer",
    description: "A token of POST /v1/tokens, or the one in the controller's file admin-token.",
  });
  app.doc31("/openapi.json", {
    openapi: "3.1.0",
    info: {
      title: "Strata",
      version: "1",
      description: "Runs OCI images as unprivileged LXC containers on any Linux machine.",
    },
  });
}

function addErrors(app: OpenAPIHono, { logger }: Services): void {
  app.notFound((c) => {
    const { status, headers, body } = toProblem(
      new ControllerError("NOT_FOUND", `there is nothing at ${c.req.method} ${c.req.path}`, {
        hint: "GET / shows what there is, GET /openapi.json all of it",
      }),
    );
    return c.body(`${JSON.stringify(body)}\n`, status, headers);
  });
  app.onError((error, c) => {
    const { status, headers, body } = toProblem(error);
    if (status >= 500)
      logger.error({ err: error, method: c.req.method, path: c.req.path }, "failed");
    return c.body(`${JSON.stringify(body)}\n`, status, headers);
  });
}
