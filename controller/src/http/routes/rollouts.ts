import { listOf, Subscription } from "@strata/protocol/api/resources";
import { RollbackInput, Rollout } from "@strata/protocol/api/rollouts";
import { Alias } from "@strata/protocol/names";
import { z } from "zod";

import { limits } from "../../config.ts";
import {
  pauseRollout,
  promoteRollout,
  resumeRollout,
  rollBack,
} from "../../operations/rollout-verbs.ts";
import type { SubscriptionKey } from "../../operations/subscriptions.ts";
import { requireFound } from "../../operations/upsert.ts";
import { listRollouts } from "../../store/rollouts.ts";
import { getSubscription, type SubscriptionRow } from "../../store/subscriptions.ts";
import type { Unit } from "../../store/unit.ts";
import { answerJson, answerResource } from "../answer.ts";
import { readSubscription, TenantQuery, tenantOf, toPage } from "../read.ts";
import type { Router } from "../route.ts";
import type { Services } from "../services.ts";
import { showRolloutRow } from "../show-rollout.ts";

const Params = z.object({ alias: Alias });
const one = { description: "The subscription.", schema: Subscription };
const ListQuery = z.strictObject({
  ...TenantQuery.shape,
  /** The generation that the page before ended with. */
  after: z.coerce.number().int().min(0).optional(),
  limit: z.coerce.number().int().min(1).max(limits.pageMax).default(20),
});

export function addRolloutRoutes(router: Router, services: Services): void {
  addVerbs(router, services);
  addRollback(router, services);
  router.add({
    method: "get",
    path: "/v1/subscriptions/{alias}/rollouts",
    access: "viewer",
    summary: "Lists the generations of a subscription and how each came in, newest first.",
    params: Params,
    query: ListQuery,
    answers: { 200: { description: "One page.", schema: listOf(Rollout) } },
    handle: ({ params: { alias }, query, caller, c }) => {
      const tenant = tenantOf(caller, query.tenant);
      const { sql } = services.store;
      const row = getSubscription(sql, { tenant, alias });
      const { id } = requireFound(row, { kind: "subscription", name: alias });
      const { limit, after = Number.MAX_SAFE_INTEGER } = query;
      const rows = listRollouts(sql, id, { before: after, limit: limit + 1 });
      const keyOf = ({ generation }: (typeof rows)[number]): string => String(generation);
      return answerJson(c, toPage(rows, { limit, keyOf, show: showRolloutRow }));
    },
  });
}

type Verb = {
  readonly verb: "pause" | "resume" | "promote";
  readonly summary: string;
  readonly run: (unit: Unit, key: SubscriptionKey) => SubscriptionRow;
};

const verbs: readonly Verb[] = [
  { verb: "pause", summary: "Holds the roll-out where it is.", run: pauseRollout },
  { verb: "resume", summary: "Lets a paused roll-out go on.", run: resumeRollout },
  { verb: "promote", summary: "Lets the rest follow the canaries.", run: promoteRollout },
];

function addVerbs(router: Router, services: Services): void {
  for (const { verb, summary, run } of verbs)
    router.add({
      method: "post",
      path: `/v1/subscriptions/{alias}/rollout/${verb}`,
      access: "deployer",
      summary,
      params: Params,
      query: TenantQuery,
      answers: { 200: one },
      handle: ({ params: { alias }, query, caller, c }) => {
        const tenant = tenantOf(caller, query.tenant);
        const row = services.store.write((unit) => run(unit, { tenant, alias }));
        services.reconcileSoon();
        return answerResource(c, readSubscription(services, row));
      },
    });
}

function addRollback(router: Router, services: Services): void {
  router.add({
    method: "post",
    path: "/v1/subscriptions/{alias}/rollback",
    access: "deployer",
    summary: "Runs again what an earlier generation ran.",
    params: Params,
    query: TenantQuery,
    body: RollbackInput,
    answers: { 200: one },
    handle: ({ params: { alias }, query, body, caller, precondition, c }) => {
      const tenant = tenantOf(caller, query.tenant);
      const { toGeneration } = body;
      const row = services.store.write((unit) =>
        rollBack(unit, { tenant, alias, toGeneration, precondition }),
      );
      services.reconcileSoon();
      return answerResource(c, readSubscription(services, row));
    },
  });
}
