import { Cartridge, CartridgeInput } from "@strata/protocol/api/resources";
import { Name } from "@strata/protocol/names";
import { z } from "zod";

import { DEFAULT_TENANT } from "../../access/repository-owner.ts";
import { inspectSignedImage } from "../../images/signed-image.ts";
import { putCartridge, removeCartridge, seesCartridge } from "../../operations/cartridges.ts";
import { requireTenant } from "../../operations/tenants.ts";
import { getCartridge, listCartridges } from "../../store/cartridges.ts";
import { answerNothing, answerResource } from "../answer.ts";
import { imagesFor } from "../images-for.ts";
import { TenantQuery, tenantOf } from "../read.ts";
import type { Router } from "../route.ts";
import type { Services } from "../services.ts";
import { showCartridge } from "../views.ts";
import { addReaders } from "./named-resource.ts";

const Params = z.object({ name: Name });

export function addCartridgeRoutes(router: Router, services: Services): void {
  router.add({
    method: "put",
    path: "/v1/cartridges/{name}",
    access: "deployer",
    summary:
      "Creates or changes a cartridge; its tag is resolved anew, and its subscriptions follow.",
    params: Params,
    query: TenantQuery,
    body: CartridgeInput,
    answers: {
      200: { description: "Changed, or as it was.", schema: Cartridge },
      201: { description: "Created.", schema: Cartridge },
    },
    handle: async ({ params: { name }, query, body: input, caller, precondition, c }) => {
      const { scope } = caller;
      const tenant = tenantOf(caller, query.tenant);
      const images = imagesFor(services, { scope, tenant });
      const image = await inspectSignedImage(images, input.image);
      const { row, action } = services.store.write((unit) => {
        requireTenant(unit, tenant);
        return putCartridge(unit, { name, input, image, scope, tenant, precondition });
      });
      services.reconcileSoon();
      services.followSoon();
      return answerResource(c, showCartridge(row), action);
    },
  });
  addReaders(router, services, {
    path: "/v1/cartridges",
    kind: "cartridge",
    resource: Cartridge,
    get: getCartridge,
    list: (sql, page, caller) =>
      listCartridges(
        sql,
        page,
        caller.scope === "admin" ? undefined : [caller.tenant, DEFAULT_TENANT],
      ),
    isSeen: ({ tenant }, caller) => seesCartridge(caller, tenant),
    show: showCartridge,
  });
  router.add({
    method: "delete",
    path: "/v1/cartridges/{name}",
    access: "deployer",
    summary: "Deletes a cartridge that no subscription uses. Its image stays in the store.",
    params: Params,
    answers: { 204: { description: "Gone." } },
    handle: ({ params: { name }, precondition, caller: { scope, tenant }, c }) => {
      services.store.write((unit) => removeCartridge(unit, { name, precondition, scope, tenant }));
      return answerNothing(c);
    },
  });
}
