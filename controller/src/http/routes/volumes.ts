import { listOf } from "@strata/protocol/api/resources";
import { Volume } from "@strata/protocol/api/volumes";
import { Name } from "@strata/protocol/names";
import { z } from "zod";

import {
  releaseVolume,
  removeVolume,
  requireVolume,
  type VolumeKey,
} from "../../operations/volumes.ts";
import type { Sql } from "../../store/database.ts";
import { getNode } from "../../store/nodes.ts";
import type { Unit } from "../../store/unit.ts";
import { listVolumesOfTenant, type VolumeRow } from "../../store/volumes.ts";
import { answerJson, answerResource } from "../answer.ts";
import { PageQuery, TenantQuery, tenantOf, toPage } from "../read.ts";
import type { Router } from "../route.ts";
import type { Services } from "../services.ts";

const Params = z.object({ name: Name });
const ListQuery = z.strictObject({ ...PageQuery.shape, ...TenantQuery.shape });
const one = { description: "The volume.", schema: Volume };

export function addVolumeRoutes(router: Router, services: Services): void {
  const { sql } = services.store;
  const show = (row: VolumeRow): Volume => showVolume(sql, row);
  router.add({
    method: "get",
    path: "/v1/volumes/{name}",
    access: "viewer",
    summary: "Shows where a named volume is and who writes to it.",
    params: Params,
    query: TenantQuery,
    answers: { 200: one },
    handle: ({ params: { name }, query, caller, c }) => {
      const key = { tenant: tenantOf(caller, query.tenant), name };
      return answerResource(c, show(requireVolume({ sql }, key)));
    },
  });
  router.add({
    method: "get",
    path: "/v1/volumes",
    access: "viewer",
    summary: "Lists the tenant's named volumes.",
    query: ListQuery,
    answers: { 200: { description: "One page.", schema: listOf(Volume) } },
    handle: ({ query: { after, limit, tenant }, caller, c }) => {
      const page = { after, limit: limit + 1 };
      const rows = listVolumesOfTenant(sql, tenantOf(caller, tenant), page);
      return answerJson(c, toPage(rows, { limit, keyOf: ({ name }) => name, show }));
    },
  });
  addVerbs(router, services);
}

function addVerbs(router: Router, services: Services): void {
  const { store } = services;
  const apply = (change: (unit: Unit, key: VolumeKey) => VolumeRow, key: VolumeKey): Volume => {
    const row = store.write((unit) => change(unit, key));
    services.reconcileSoon();
    return showVolume(store.sql, row);
  };
  router.add({
    method: "delete",
    path: "/v1/volumes/{name}",
    access: "deployer",
    summary: "Deletes a volume that nothing uses, and its content on its node.",
    params: Params,
    query: TenantQuery,
    answers: { 202: { ...one, description: "It is gone when its node has removed it." } },
    handle: ({ params: { name }, query, caller, c }) =>
      answerJson(c, apply(removeVolume, { tenant: tenantOf(caller, query.tenant), name }), 202),
  });
  router.add({
    method: "post",
    path: "/v1/volumes/{name}/release",
    access: "deployer",
    summary: "Gives up what a lost node has of a volume: it is made anew, empty, elsewhere.",
    params: Params,
    query: TenantQuery,
    answers: { 200: one },
    handle: ({ params: { name }, query, caller, c }) =>
      answerJson(c, apply(releaseVolume, { tenant: tenantOf(caller, query.tenant), name })),
  });
}

function showVolume(sql: Sql, row: VolumeRow): Volume {
  const { name, tenant, nodeId, holder, deletedAt, revision, createdAt, updatedAt } = row;
  const node = nodeId === null ? undefined : getNode(sql, nodeId);
  return {
    name,
    tenant,
    node: node?.name ?? null,
    state: deletedAt === null ? stateOn(node) : "deleting",
    holder,
    revision,
    createdAt,
    updatedAt,
  };
}

function stateOn(node: ReturnType<typeof getNode>): Volume["state"] {
  if (node === undefined) return "unbound";
  return node.presence === "away" ? "away" : "bound";
}
