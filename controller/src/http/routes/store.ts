import { scopeIncludes } from "@strata/protocol/access";
import {
  CollectInput,
  CollectionReport,
  RetentionPolicyInput,
  RetentionPolicyResource,
  ScrubReport,
  SignaturePolicyInput,
  SignaturePolicyResource,
  StoreQuotaInput,
  StoreQuotaResource,
  StoreStatus,
} from "@strata/protocol/api/store-rules";

import { limits } from "../../config.ts";
import { putSignaturePolicy, removeSignaturePolicy } from "../../operations/signature-policies.ts";
import {
  putRetentionPolicy,
  putStoreQuota,
  removeRetentionPolicy,
  removeStoreQuota,
} from "../../operations/store-rules.ts";
import { getSignaturePolicy, listSignaturePolicies } from "../../store/signatures.ts";
import {
  getRetentionPolicy,
  getStoreQuota,
  listRetentionPolicies,
  listStoreQuotas,
} from "../../store/store-rules.ts";
import { answerJson } from "../answer.ts";
import type { Router } from "../route.ts";
import type { Services } from "../services.ts";
import { showRetentionPolicy, showSignaturePolicy, showStoreQuota } from "../views.ts";
import { addNamedResource } from "./named-resource.ts";

/** Upkeep of the store; the registry itself is under /v2/. */
export function addStoreRoutes(router: Router, services: Services): void {
  addNamedResource(router, services, {
    path: "/v1/retention-policies",
    kind: "retention policy",
    writer: "operator",
    input: RetentionPolicyInput,
    resource: RetentionPolicyResource,
    put: putRetentionPolicy,
    get: getRetentionPolicy,
    list: listRetentionPolicies,
    remove: removeRetentionPolicy,
    show: showRetentionPolicy,
  });
  addNamedResource(router, services, {
    path: "/v1/store-quotas",
    kind: "store quota",
    writer: "operator",
    // Their names are those of tenants.
    reader: "operator",
    input: StoreQuotaInput,
    resource: StoreQuotaResource,
    put: putStoreQuota,
    get: getStoreQuota,
    list: listStoreQuotas,
    remove: removeStoreQuota,
    show: showStoreQuota,
  });
  addNamedResource(router, services, {
    path: "/v1/signature-policies",
    kind: "signature policy",
    writer: "operator",
    input: SignaturePolicyInput,
    resource: SignaturePolicyResource,
    put: putSignaturePolicy,
    get: getSignaturePolicy,
    list: listSignaturePolicies,
    remove: removeSignaturePolicy,
    show: showSignaturePolicy,
  });
  addUpkeep(router, services);
}

function addUpkeep(router: Router, { storeKeeper, config }: Services): void {
  router.add({
    method: "get",
    path: "/v1/store",
    access: "viewer",
    summary: "What the store holds, and how its last collection and re-hash went.",
    answers: { 200: { description: "The present state.", schema: StoreStatus } },
    handle: async ({ caller, c }) => {
      const status = await storeKeeper.status();
      const quotas = status.quotas.filter(
        ({ name }) => scopeIncludes(caller.scope, "operator") || name === caller.tenant,
      );
      return answerJson(c, { ...status, quotas });
    },
  });
  router.add({
    method: "post",
    path: "/v1/store/collect",
    access: "operator",
    summary:
      "Removes what no tag, policy or process needs, while clients go on. Answers when it is done.",
    body: CollectInput,
    answers: { 200: { description: "What went, or would go.", schema: CollectionReport } },
    handle: async ({ body: { dryRun, grace }, c }) => {
      const graceMs = grace ?? config.storeGraceMs;
      const { signal } = c.req.raw;
      return answerJson(c, await storeKeeper.collect({ dryRun, graceMs, signal }));
    },
  });
  router.add({
    method: "post",
    path: "/v1/store/scrub",
    access: "operator",
    summary:
      "Hashes stored blobs for up to a minute, from where the last one stopped, and repairs what it can.",
    answers: { 200: { description: "What it found.", schema: ScrubReport } },
    handle: async ({ c }) => {
      const { signal } = c.req.raw;
      const { storeScrubByHandMs: durationMs, storeScrubByHandRate: bytesPerSecondMax } = limits;
      return answerJson(c, await storeKeeper.scrub({ durationMs, bytesPerSecondMax, signal }));
    },
  });
}
