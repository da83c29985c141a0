/** Several resources in one transaction: all of them, or none. */
import type { Scope } from "@strata/protocol/access";
import { PartitionPolicyInput, ScalingPolicyInput } from "@strata/protocol/api/autoscale";
import { CertificateFileInput } from "@strata/protocol/api/certificates";
import { JobInput } from "@strata/protocol/api/jobs";
import {
  type ApplyKind,
  type ApplyResult,
  CartridgeInput,
  PartitionInput,
  SubscriptionInput,
} from "@strata/protocol/api/resources";
import { RouteInput } from "@strata/protocol/api/routes";
import type { z } from "zod";

import type { SignedRunnableImage } from "../images/signed-image.ts";
import { getSubscription } from "../store/subscriptions.ts";
import type { Unit } from "../store/unit.ts";
import { putCartridge } from "./cartridges.ts";
import { type CertificateContext, putCertificate } from "./certificates.ts";
import { putJob } from "./jobs.ts";
import { putPartition, putPartitionPolicy } from "./partitions.ts";
import { ProviderInput } from "./provider-input.ts";
import { putProvider } from "./providers.ts";
import { requireRelations } from "./relations.ts";
import { putRoute } from "./routes.ts";
import { putScalingPolicy } from "./scaling-policies.ts";
import { putSubscription } from "./subscriptions.ts";
import type { Outcome } from "./upsert.ts";

/** What each kind's fields are. */
export const inputOfKind = {
  Provider: ProviderInput,
  PartitionPolicy: PartitionPolicyInput,
  ScalingPolicy: ScalingPolicyInput,
  Partition: PartitionInput,
  Cartridge: CartridgeInput,
  Subscription: SubscriptionInput,
  Job: JobInput,
  Route: RouteInput,
  Certificate: CertificateFileInput,
} as const satisfies Record<ApplyKind, z.ZodType>;

type Of<Kind extends ApplyKind> = {
  readonly kind: Kind;
  readonly name: string;
  readonly input: z.output<(typeof inputOfKind)[Kind]>;
};

export type ApplyDocument =
  | Of<"Provider">
  | Of<"PartitionPolicy">
  | Of<"ScalingPolicy">
  | Of<"Partition">
  | (Of<"Cartridge"> & { readonly image: SignedRunnableImage })
  | Of<"Subscription">
  | Of<"Job">
  | Of<"Route">
  | Of<"Certificate">;

/** What others refer to comes first, whatever the order of the documents. */
const order: readonly ApplyKind[] = [
  "Provider",
  "PartitionPolicy",
  "ScalingPolicy",
  "Partition",
  "Cartridge",
  "Subscription",
  "Job",
  "Route",
  "Certificate",
];

/** @throws ControllerError of whichever is refused; then nothing of all is done. */
export function applyDocuments(
  unit: Unit,
  { documents, ...author }: { readonly documents: readonly ApplyDocument[] } & Author,
): ApplyResult {
  const sorted = documents.toSorted((a, b) => order.indexOf(a.kind) - order.indexOf(b.kind));
  const results = sorted.map((document) => {
    const { action, changes } = applyOne(unit, document, author);
    return { kind: document.kind, name: document.name, action, changes: [...changes] };
  });
  // Each may name any other, whichever of them came first.
  for (const { kind, name: alias } of sorted) {
    const row =
      kind === "Subscription" ? getSubscription(unit.sql, { ...author, alias }) : undefined;
    if (row !== undefined) requireRelations(unit, row);
  }
  return { results };
}

/** For whom the documents are applied, and with what right. */
type Author = {
  readonly tenant: string;
  readonly scope: Scope;
  readonly domain: string;
  readonly certificates: CertificateContext;
};

function applyOne(unit: Unit, document: ApplyDocument, author: Author): Outcome<unknown> {
  switch (document.kind) {
    case "Provider":
      return putProvider(unit, document);
    case "PartitionPolicy":
      return putPartitionPolicy(unit, document);
    case "ScalingPolicy":
      return putScalingPolicy(unit, document);
    case "Partition":
      return putPartition(unit, document);
    case "Cartridge":
      return putCartridge(unit, { ...document, ...author });
    case "Subscription":
      return putSubscription(unit, {
        ...author,
        alias: document.name,
        input: document.input,
        relations: "later",
      });
    case "Job":
      return putJob(unit, { ...author, name: document.name, input: document.input });
    case "Route":
      return putRoute(unit, { ...author, name: document.name, input: document.input });
    case "Certificate":
      return putCertificate(unit, author.certificates, { ...document, tenant: author.tenant });
    default:
      return document satisfies never;
  }
}
