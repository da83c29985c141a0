/** Secrets of a tenant. No answer of these holds a value; the agents' own route is the one that does. */
import { SecretValue } from "@strata/protocol/agent/messages";
import { listOf, Secret, SecretInput } from "@strata/protocol/api/resources";
import { Name } from "@strata/protocol/names";
import { z } from "zod";

import {
  putSecret,
  readSecretForNode,
  removeSecret,
  toSecretValue,
} from "../../operations/secrets.ts";
import { requireFound } from "../../operations/upsert.ts";
import { getSecret, listSecretsOfTenant, type SecretRow } from "../../store/secrets.ts";
import { answerJson, answerNothing, answerResource } from "../answer.ts";
import { PageQuery, TenantQuery, tenantOf, toPage } from "../read.ts";
import type { Router } from "../route.ts";
import type { Services } from "../services.ts";

const Params = z.object({ name: Name });
const ListQuery = z.strictObject({ ...PageQuery.shape, ...TenantQuery.shape });
const one = { description: "The secret, without its value.", schema: Secret };

export function addSecretRoutes(router: Router, services: Services): void {
  addWriters(router, services);
  const { sql } = services.store;
  router.add({
    method: "get",
    path: "/v1/secrets/{name}",
    access: "deployer",
    summary: "Shows that there is a secret, never its value.",
    params: Params,
    query: TenantQuery,
    answers: { 200: one },
    handle: ({ params: { name }, query, caller, c }) => {
      const row = getSecret(sql, { tenant: tenantOf(caller, query.tenant), name });
      return answerResource(c, show(requireFound(row, { kind: "secret", name })));
    },
  });
  router.add({
    method: "get",
    path: "/v1/secrets",
    access: "deployer",
    summary: "Lists the tenant's secrets by name, without their values.",
    query: ListQuery,
    answers: { 200: { description: "One page.", schema: listOf(Secret) } },
    handle: ({ query: { after, limit, tenant }, caller, c }) => {
      const page = { after, limit: limit + 1 };
      const rows = listSecretsOfTenant(sql, tenantOf(caller, tenant), page);
      return answerJson(c, toPage(rows, { limit, keyOf: ({ name }) => name, show }));
    },
  });
}

function addWriters(router: Router, services: Services): void {
  const { store, secretBox } = services;
  router.add({
    method: "put",
    path: "/v1/secrets/{name}",
    access: "deployer",
    summary: "Sets the value of a secret; what uses it is replaced.",
    params: Params,
    query: TenantQuery,
    body: SecretInput,
    answers: { 200: one, 201: { ...one, description: "Created." } },
    handle: ({ params: { name }, query, body, caller, precondition, c }) => {
      const tenant = tenantOf(caller, query.tenant);
      const value = toSecretValue(body);
      const { row, action } = store.write((unit) =>
        putSecret(unit, secretBox, { tenant, name, value, precondition }),
      );
      services.reconcileSoon();
      return answerResource(c, show(row), action);
    },
  });
  router.add({
    method: "delete",
    path: "/v1/secrets/{name}",
    access: "deployer",
    summary: "Deletes a secret that nothing uses.",
    params: Params,
    query: TenantQuery,
    answers: { 204: { description: "Gone." } },
    handle: ({ params: { name }, query, caller, precondition, c }) => {
      const tenant = tenantOf(caller, query.tenant);
      store.write((unit) => removeSecret(unit, { tenant, name, precondition }));
      return answerNothing(c);
    },
  });
}

const NodeParams = z.object({
  id: z.string().max(100),
  name: Name,
  version: z.coerce.number().int().positive(),
});

/** What agents ask just before they start a process. */
export function addNodeSecretRoute(router: Router, { store, secretBox }: Services): void {
  router.add({
    method: "get",
    path: "/v1/nodes/{id}/secrets/{name}/{version}",
    access: "node",
    summary: "The value of a secret that one of the node's assignments names.",
    params: NodeParams,
    query: z.strictObject({ tenant: Name }),
    answers: { 200: { description: "The value.", schema: SecretValue } },
    handle: ({ params: { id: nodeId, name, version }, query: { tenant }, c }) => {
      const value = readSecretForNode(store, secretBox, { nodeId, tenant, name, version });
      c.header("cache-control", "no-store");
      return answerJson(c, { base64: value.toString("base64") });
    },
  });
}

function show({ tenant, name, version, revision, createdAt, updatedAt }: SecretRow): Secret {
  return { tenant, name, version, revision, createdAt, updatedAt };
}
