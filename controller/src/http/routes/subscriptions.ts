import {
  listOf,
  Process,
  ScaleInput,
  Subscription,
  SubscriptionInput,
} from "@strata/protocol/api/resources";
import { Alias } from "@strata/protocol/names";
import { z } from "zod";

import { withinQuota } from "../../operations/quotas.ts";
import {
  putSubscription,
  removeSubscription,
  restartSubscription,
  scaleSubscription,
} from "../../operations/subscriptions.ts";
import { requireFound } from "../../operations/upsert.ts";
import { listProcessViews } from "../../store/processes.ts";
import { getSubscription, listSubscriptionsOfTenant } from "../../store/subscriptions.ts";
import { answerJson, answerResource } from "../answer.ts";
import {
  PageQuery,
  readProcess,
  readSubscription,
  TenantQuery,
  tenantOf,
  toPage,
} from "../read.ts";
import type { Router } from "../route.ts";
import type { Services } from "../services.ts";

const Params = z.object({ alias: Alias });
const ListQuery = z.strictObject({ ...PageQuery.shape, ...TenantQuery.shape });
const one = { description: "The subscription.", schema: Subscription };

export function addSubscriptionRoutes(router: Router, services: Services): void {
  addWriters(router, services);
  addVerbs(router, services);
  router.add({
    method: "get",
    path: "/v1/subscriptions/{alias}",
    access: "viewer",
    summary: "Shows a subscription and how far its processes are.",
    params: Params,
    query: TenantQuery,
    answers: { 200: one },
    handle: ({ params: { alias }, query, caller, c }) => {
      const tenant = tenantOf(caller, query.tenant);
      const row = getSubscription(services.store.sql, { tenant, alias });
      const found = requireFound(row, { kind: "subscription", name: alias });
      return answerResource(c, readSubscription(services, found));
    },
  });
  router.add({
    method: "get",
    path: "/v1/subscriptions",
    access: "viewer",
    summary: "Lists the tenant's subscriptions by alias.",
    query: ListQuery,
    answers: { 200: { description: "One page.", schema: listOf(Subscription) } },
    handle: ({ query: { after, limit, tenant }, caller, c }) => {
      const rows = listSubscriptionsOfTenant(services.store.sql, tenantOf(caller, tenant), {
        after,
        limit: limit + 1,
      });
      const show = (row: (typeof rows)[number]): Subscription => readSubscription(services, row);
      return answerJson(c, toPage(rows, { limit, keyOf: ({ alias }) => alias, show }));
    },
  });
  router.add({
    method: "get",
    path: "/v1/subscriptions/{alias}/processes",
    access: "viewer",
    summary: "Lists the processes of a subscription.",
    params: Params,
    query: ListQuery,
    answers: { 200: { description: "One page.", schema: listOf(Process) } },
    handle: ({ params: { alias }, query, caller, c }) => {
      const tenant = tenantOf(caller, query.tenant);
      const { sql } = services.store;
      requireFound(getSubscription(sql, { tenant, alias }), { kind: "subscription", name: alias });
      const { after, limit } = query;
      const filter = { tenant, subscription: alias };
      const views = listProcessViews(sql, { filter, after, limit: limit + 1 });
      return answerJson(
        c,
        toPage(views, {
          limit,
          keyOf: ({ process }) => process.id,
          show: (view) => readProcess(services, view),
        }),
      );
    },
  });
}

function addWriters(router: Router, services: Services): void {
  router.add({
    method: "put",
    path: "/v1/subscriptions/{alias}",
    access: "deployer",
    summary: "Creates or changes a subscription.",
    params: Params,
    query: TenantQuery,
    body: SubscriptionInput,
    answers: { 200: one, 201: { ...one, description: "Created." } },
    handle: ({ params: { alias }, query, body: input, caller, precondition, c }) => {
      const tenant = tenantOf(caller, query.tenant);
      const { row, action } = services.store.write((unit) =>
        withinQuota(unit, tenant, () =>
          putSubscription(unit, { tenant, alias, input, scope: caller.scope, precondition }),
        ),
      );
      services.reconcileSoon();
      services.followSoon();
      return answerResource(c, readSubscription(services, row), action);
    },
  });
  router.add({
    method: "delete",
    path: "/v1/subscriptions/{alias}",
    access: "deployer",
    summary: "Stops all processes of a subscription, then forgets it.",
    params: Params,
    query: TenantQuery,
    answers: { 202: { ...one, description: "Its processes are being stopped." } },
    handle: ({ params: { alias }, query, caller, precondition, c }) => {
      const tenant = tenantOf(caller, query.tenant);
      const row = services.store.write((unit) =>
        removeSubscription(unit, { tenant, alias, precondition }),
      );
      services.reconcileSoon();
      return answerJson(c, readSubscription(services, row), 202);
    },
  });
}

function addVerbs(router: Router, services: Services): void {
  router.add({
    method: "post",
    path: "/v1/subscriptions/{alias}/scale",
    access: "deployer",
    summary: "Sets how many processes the subscription shall have.",
    params: Params,
    query: TenantQuery,
    body: ScaleInput,
    answers: { 200: one },
    handle: ({ params: { alias }, query, body, caller, precondition, c }) => {
      const tenant = tenantOf(caller, query.tenant);
      const row = services.store.write((unit) =>
        withinQuota(unit, tenant, () =>
          scaleSubscription(unit, { tenant, alias, processes: body.processes, precondition }),
        ),
      );
      services.reconcileSoon();
      return answerResource(c, readSubscription(services, row));
    },
  });
  router.add({
    method: "post",
    path: "/v1/subscriptions/{alias}/restart",
    access: "deployer",
    summary: "Replaces every process by a new one.",
    params: Params,
    query: TenantQuery,
    answers: { 200: one },
    handle: ({ params: { alias }, query, caller, c }) => {
      const tenant = tenantOf(caller, query.tenant);
      const row = services.store.write((unit) => restartSubscription(unit, { tenant, alias }));
      services.reconcileSoon();
      return answerResource(c, readSubscription(services, row));
    },
  });
}
