import { EpochResource } from "@strata/protocol/api/backups";

import { answerJson } from "../answer.ts";
import type { Router } from "../route.ts";
import type { Services } from "../services.ts";

/** What a restored controller does not know, and the word that lets it act. */
export function addEpochRoutes(router: Router, services: Services): void {
  const { epochs, reconcileSoon, provisionSoon } = services;
  router.add({
    method: "get",
    path: "/v1/epoch",
    access: "admin",
    summary: "Whether the state was restored from a backup, and what it does not know.",
    answers: { 200: { description: "The epoch.", schema: EpochResource } },
    handle: ({ c }) => answerJson(c, epochs.show()),
  });
  router.add({
    method: "post",
    path: "/v1/epoch/confirm",
    access: "admin",
    summary: "Lets a restored state be acted on: what it does not know is stopped then.",
    answers: { 200: { description: "The epoch.", schema: EpochResource } },
    handle: ({ c }) => {
      epochs.confirm();
      reconcileSoon();
      provisionSoon();
      return answerJson(c, epochs.show());
    },
  });
}
