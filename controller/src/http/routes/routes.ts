/** How the world comes to the processes of a tenant. */
import { listOf } from "@strata/protocol/api/resources";
import { Route, RouteInput } from "@strata/protocol/api/routes";
import { Name } from "@strata/protocol/names";
import { z } from "zod";

import { putRoute, removeRoute } from "../../operations/routes.ts";
import { requireFound } from "../../operations/upsert.ts";
import { getRoute, listRoutesOfTenant } from "../../store/routes.ts";
import { answerJson, answerNothing, answerResource } from "../answer.ts";
import { PageQuery, TenantQuery, tenantOf, toPage } from "../read.ts";
import type { Router } from "../route.ts";
import type { Services } from "../services.ts";
import { showRoute } from "../show-route.ts";

const Params = z.object({ name: Name });
const ListQuery = z.strictObject({ ...PageQuery.shape, ...TenantQuery.shape });
const one = { description: "The route.", schema: Route };

export function addRouteRoutes(router: Router, services: Services): void {
  const { sql } = services.store;
  addWriters(router, services);
  router.add({
    method: "get",
    path: "/v1/routes/{name}",
    access: "viewer",
    summary: "Shows a route, and whether anybody is there to answer.",
    params: Params,
    query: TenantQuery,
    answers: { 200: one },
    handle: ({ params: { name }, query, caller, c }) => {
      const row = getRoute(sql, { tenant: tenantOf(caller, query.tenant), name });
      return answerResource(c, showRoute(services, requireFound(row, { kind: "route", name })));
    },
  });
  router.add({
    method: "get",
    path: "/v1/routes",
    access: "viewer",
    summary:
      "Lists the tenant's routes by name, without those that subscriptions have by themselves.",
    query: ListQuery,
    answers: { 200: { description: "One page.", schema: listOf(Route) } },
    handle: ({ query: { after, limit, tenant }, caller, c }) => {
      const page = { after, limit: limit + 1 };
      const rows = listRoutesOfTenant(sql, tenantOf(caller, tenant), page);
      const show = (row: (typeof rows)[number]): Route => showRoute(services, row);
      return answerJson(c, toPage(rows, { limit, keyOf: ({ name }) => name, show }));
    },
  });
}

function addWriters(router: Router, services: Services): void {
  const { store, config } = services;
  router.add({
    method: "put",
    path: "/v1/routes/{name}",
    access: "deployer",
    summary: "Creates or changes a route.",
    params: Params,
    query: TenantQuery,
    body: RouteInput,
    answers: { 200: one, 201: { ...one, description: "Created." } },
    handle: ({ params: { name }, query, body: input, caller, precondition, c }) => {
      const tenant = tenantOf(caller, query.tenant);
      const { scope } = caller;
      const { domain } = config;
      const { row, action } = store.write((unit) =>
        putRoute(unit, { tenant, name, input, scope, domain, precondition }),
      );
      return answerResource(c, showRoute(services, row), action);
    },
  });
  router.add({
    method: "delete",
    path: "/v1/routes/{name}",
    access: "deployer",
    summary: "Deletes a route.",
    params: Params,
    query: TenantQuery,
    answers: { 204: { description: "Gone." } },
    handle: ({ params: { name }, query, caller, precondition, c }) => {
      const tenant = tenantOf(caller, query.tenant);
      store.write((unit) => removeRoute(unit, { tenant, name, precondition }));
      return answerNothing(c);
    },
  });
}
