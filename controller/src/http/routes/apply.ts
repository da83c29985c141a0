import { ApplyResult } from "@strata/protocol/api/resources";
import { z } from "zod";

import { applyDocuments } from "../../operations/apply.ts";
import { withinQuota } from "../../operations/quotas.ts";
import { answerJson } from "../answer.ts";
import { parseDocuments, readDocument } from "../apply-documents.ts";
import { readBody } from "../body.ts";
import { imagesFor } from "../images-for.ts";
import { TenantQuery, tenantOf } from "../read.ts";
import { authorizeCaller, type Router } from "../route.ts";
import type { Services } from "../services.ts";

const Query = z.strictObject({
  ...TenantQuery.shape,
  dryRun: z.enum(["true", "false"]).default("false"),
});

/** Kinds that only an operator may write; the others are a deployer's. */
const operatorKinds: readonly string[] = ["PartitionPolicy", "ScalingPolicy", "Partition"];

export function addApplyRoute(router: Router, services: Services): void {
  const { store, secretBox: box, config } = services;
  const certificates = { box, directories: config.acmeDirectories };
  router.add({
    method: "post",
    path: "/v1/apply",
    access: "deployer",
    summary: "Creates or changes several resources: all of them, or none. ?dryRun=true only tells.",
    query: Query,
    rawBody: "application/yaml",
    answers: { 200: { description: "What was done to each.", schema: ApplyResult } },
    handle: async ({ query, caller, c }) => {
      const tenant = tenantOf(caller, query.tenant);
      const values = parseDocuments(await readBody(c));
      const images = imagesFor(services, { scope: caller.scope, tenant });
      const documents = await Promise.all(
        values.map((value, index) => readDocument(value, { index, images })),
      );
      if (documents.some(({ kind }) => operatorKinds.includes(kind)))
        authorizeCaller(caller, { access: "operator", nodeId: undefined });
      // Who may write a provider may run programs on this machine.
      if (documents.some(({ kind }) => kind === "Provider"))
        authorizeCaller(caller, { access: "admin", nodeId: undefined });
      const run = query.dryRun === "true" ? store.rehearse : store.write;
      const result = run((unit) =>
        withinQuota(unit, tenant, () =>
          applyDocuments(unit, {
            documents,
            tenant,
            scope: caller.scope,
            domain: services.config.domain,
            certificates,
          }),
        ),
      );
      services.reconcileSoon();
      services.followSoon();
      return answerJson(c, result);
    },
  });
}
