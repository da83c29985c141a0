/** Who shares the installation. A tenant's own tokens see it and no other. */
import { listOf } from "@strata/protocol/api/resources";
import { Tenant, TenantInput } from "@strata/protocol/api/tenants";
import { Name } from "@strata/protocol/names";
import { z } from "zod";

import type { Principal } from "../../access/authenticate.ts";
import { DEFAULT_TENANT } from "../../access/repository-owner.ts";
import { readUse } from "../../operations/quotas.ts";
import { putTenant, removeTenant } from "../../operations/tenants.ts";
import { requireFound } from "../../operations/upsert.ts";
import { getStoreQuota } from "../../store/store-rules.ts";
import { getTenant, listTenants, type TenantRow } from "../../store/tenants.ts";
import { answerJson, answerNothing, answerResource } from "../answer.ts";
import { PageQuery, toPage } from "../read.ts";
import type { Router } from "../route.ts";
import type { Services } from "../services.ts";

const Params = z.object({ name: Name });
const one = { description: "The tenant, with what its wishes add up to.", schema: Tenant };

export function addTenantRoutes(router: Router, services: Services): void {
  const { store } = services;
  addReaders(router, services);
  router.add({
    method: "put",
    path: "/v1/tenants/{name}",
    access: "admin",
    summary: "Creates or changes a tenant and its quota.",
    params: Params,
    body: TenantInput,
    answers: { 200: one, 201: { ...one, description: "Created." } },
    handle: async ({ params: { name }, body: input, precondition, c }) => {
      const { row, action } = store.write((unit) => putTenant(unit, { name, input, precondition }));
      // A larger quota may let waiting processes in.
      services.reconcileSoon();
      return answerResource(c, await showTenant(services, row), action);
    },
  });
  router.add({
    method: "delete",
    path: "/v1/tenants/{name}",
    access: "admin",
    summary: "Deletes a tenant that owns nothing any more.",
    params: Params,
    answers: { 204: { description: "Gone." } },
    handle: async ({ params: { name }, precondition, c }) => {
      const images = await services.storeKeeper.usedBytes(name);
      store.write((unit) => removeTenant(unit, { name, precondition, storageBytes: images }));
      return answerNothing(c);
    },
  });
}

function addReaders(router: Router, services: Services): void {
  const { sql } = services.store;
  router.add({
    method: "get",
    path: "/v1/tenants/{name}",
    access: "viewer",
    summary: "Shows a tenant, its quota and its use. Of others than one's own, admins alone.",
    params: Params,
    answers: { 200: one },
    handle: async ({ params: { name }, caller, c }) => {
      const row = sees(caller, name) ? getTenant(sql, name) : undefined;
      const found = requireFound(row, { kind: "tenant", name });
      return answerResource(c, await showTenant(services, found));
    },
  });
  router.add({
    method: "get",
    path: "/v1/tenants",
    access: "viewer",
    summary: "Lists tenants by name: all of them for an admin, or else one's own.",
    query: PageQuery,
    answers: { 200: { description: "One page.", schema: listOf(Tenant) } },
    handle: async ({ query: { after, limit }, caller, c }) => {
      const own = [getTenant(sql, caller.tenant)].flatMap((row) => row ?? []);
      const rows =
        caller.scope === "admin"
          ? listTenants(sql, { after, limit: limit + 1 })
          : own.filter(({ name }) => name > after);
      const page = toPage(rows, { limit, keyOf: ({ name }) => name, show: (row) => row });
      const items = await Promise.all(page.items.map((row) => showTenant(services, row)));
      return answerJson(c, { ...page, items });
    },
  });
}

function sees({ scope, tenant }: Principal, name: string): boolean {
  return scope === "admin" || tenant === name;
}

async function showTenant(
  { store, storeKeeper }: Services,
  { name, description, quota, revision, createdAt, updatedAt }: TenantRow,
): Promise<Tenant> {
  const { processes = null, cpu, memory = null } = quota;
  const { sql } = store;
  const use = readUse({ sql }, name);
  return {
    name,
    description,
    quota: {
      processes,
      cpu: cpu === undefined ? null : cpu / 1000,
      memory,
      storage: getStoreQuota(sql, name)?.bytes ?? null,
    },
    revision,
    createdAt,
    updatedAt,
    status: {
      processes: use.processes,
      cpu: use.cpu / 1000,
      memory: use.memory,
      storage: name === DEFAULT_TENANT ? null : await storeKeeper.usedBytes(name),
    },
  };
}
