import { ProviderResource, VmResource } from "@strata/protocol/api/providers";
import { listOf } from "@strata/protocol/api/resources";
import { Name } from "@strata/protocol/names";
import { z } from "zod";

import { deleteVmByHand } from "../../operations/nodes.ts";
import { ProviderInput, redactSettings } from "../../operations/provider-input.ts";
import { putProvider, removeProvider } from "../../operations/providers.ts";
import { requireFound } from "../../operations/upsert.ts";
import { getNode } from "../../store/nodes.ts";
import { getProvider, listProviders, type ProviderRow } from "../../store/providers.ts";
import { countVms, getVm, listVmsPage, type VmRow } from "../../store/vms.ts";
import { answerJson } from "../answer.ts";
import { PageQuery, toPage } from "../read.ts";
import type { Router } from "../route.ts";
import { forgetNodeInMemory, type Services } from "../services.ts";
import { addNamedResource } from "./named-resource.ts";

/** Providers of VMs, and the VMs that were made. */
export function addProviderRoutes(router: Router, services: Services): void {
  const { sql } = services.store;
  addNamedResource(router, services, {
    path: "/v1/providers",
    kind: "provider",
    // Its settings name programs that run on this machine.
    writer: "admin",
    input: ProviderInput,
    resource: ProviderResource,
    put: putProvider,
    get: getProvider,
    list: listProviders,
    remove: removeProvider,
    show: (row) => showProvider(row, countVms(sql, { provider: row.name })),
  });
  addVmRoutes(router, services);
}

function addVmRoutes(router: Router, services: Services): void {
  const { store } = services;
  const { sql } = store;
  const show = (row: VmRow): VmResource =>
    showVm(row, row.nodeId === null ? undefined : getNode(sql, row.nodeId)?.name);
  const Params = z.object({ id: z.string().max(63) });
  router.add({
    method: "get",
    path: "/v1/vms",
    access: "viewer",
    summary: "Lists the VMs that were asked for, by id.",
    query: z.strictObject({
      ...PageQuery.shape,
      partition: Name.optional(),
      provider: Name.optional(),
    }),
    answers: { 200: { description: "One page.", schema: listOf(VmResource) } },
    handle: ({ query: { limit, ...filter }, c }) => {
      const rows = listVmsPage(sql, { ...filter, limit: limit + 1 });
      return answerJson(c, toPage(rows, { limit, keyOf: ({ id }) => id, show }));
    },
  });
  router.add({
    method: "get",
    path: "/v1/vms/{id}",
    access: "viewer",
    summary: "Shows a VM.",
    params: Params,
    answers: { 200: { description: "The VM.", schema: VmResource } },
    handle: ({ params: { id }, c }) =>
      answerJson(c, show(requireFound(getVm(sql, id), { kind: "VM", name: id }))),
  });
  router.add({
    method: "delete",
    path: "/v1/vms/{id}",
    access: "operator",
    summary:
      "Has a VM deleted by its provider, when its node holds nothing. With ?forget=true it is only forgotten, for a provider that is no more.",
    params: Params,
    query: z.strictObject({ forget: z.enum(["true", "false"]).default("false") }),
    answers: { 202: { description: "It is being deleted, or forgotten.", schema: VmResource } },
    handle: ({ params: { id }, query, c }) => {
      const forget = query.forget === "true";
      const { row, nodeId } = store.write((unit) => deleteVmByHand(unit, id, { forget }));
      if (nodeId !== undefined) forgetNodeInMemory(services, nodeId);
      services.provisionSoon();
      return answerJson(c, show(row), 202);
    },
  });
}

function showProvider(row: ProviderRow, vms: number): ProviderResource {
  const { name, settings, flavors, revision, createdAt, updatedAt } = row;
  return ProviderResource.parse({
    name,
    kind: settings["kind"],
    settings: redactSettings(settings),
    flavors,
    revision,
    createdAt,
    updatedAt,
    status: { vms },
  });
}

function showVm(row: VmRow, node: string | undefined): VmResource {
  const { requestedAt, nodeId: _nodeId, joinTokenId: _joinTokenId, ...shown } = row;
  return { ...shown, createdAt: requestedAt, node: node ?? null };
}
