import { Cartridge, CartridgeInput } from "@strata/protocol/api/resources";
import { Name } from "@strata/protocol/names";
import { z } from "zod";

import { inspectSignedImage } from "../../images/signed-image.ts";
import { putCartridge, removeCartridge } from "../../operations/cartridges.ts";
import { getCartridge, listCartridges } from "../../store/cartridges.ts";
import { answerNothing, answerResource } from "../answer.ts";
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
    body: CartridgeInput,
    answers: {
      200: { description: "Changed, or as it was.", schema: Cartridge },
      201: { description: "Created.", schema: Cartridge },
    },
    handle: async ({ params: { name }, body: input, caller, precondition, c }) => {
      const image = await inspectSignedImage(services.images, input.image);
      const { row, action } = services.store.write((unit) =>
        putCartridge(unit, { name, input, image, scope: caller.scope, precondition }),
      );
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
    list: listCartridges,
    show: showCartridge,
  });
  router.add({
    method: "delete",
    path: "/v1/cartridges/{name}",
    access: "deployer",
    summary: "Deletes a cartridge that no subscription uses. Its image stays in the store.",
    params: Params,
    answers: { 204: { description: "Gone." } },
    handle: ({ params: { name }, precondition, c }) => {
      services.store.write((unit) => removeCartridge(unit, { name, precondition }));
      return answerNothing(c);
    },
  });
}
