/** Which images must not be placed: what a signature policy says of them now, whatever it said when they were put. */
import type { ProcessSpec } from "@strata/protocol/agent/messages";

import type { Problem } from "../domain/process.ts";
import { findObjection } from "../operations/signature-policies.ts";
import type { Sql } from "../store/database.ts";
import { keepReading } from "../store/kept-tables.ts";
import type { ProcessRow } from "../store/processes.ts";
import { getImageSignatures, listAllSignaturePolicies } from "../store/signatures.ts";
import type { SpecOf } from "./snapshot.ts";

type Refusals = (process: Pick<ProcessRow, "subscriptionId" | "generation">) => Problem | undefined;

const readPolicies = keepReading(["signature_policies"], listAllSignaturePolicies);

/** Each image is looked at when it is asked for, and once. */
export function readRefusals(sql: Sql, specOf: SpecOf): Refusals {
  const policies = readPolicies(sql);
  if (policies.length === 0) return () => undefined;
  const known = new Map<string, Problem | undefined>();
  return (process) => {
    const image = specOf(process)?.image;
    if (image === undefined) return undefined;
    const key = `${image.repository}@${image.digest}`;
    if (!known.has(key)) known.set(key, refusalOf(sql, policies, image));
    return known.get(key);
  };
}

function refusalOf(
  sql: Sql,
  policies: Parameters<typeof findObjection>[0],
  image: ProcessSpec["image"],
): Problem | undefined {
  const signatures = getImageSignatures(sql, image);
  const objection = findObjection(policies, { ...image, signatures });
  return objection?.mode === "enforce"
    ? { code: "IMAGE_UNSIGNED", message: objection.message }
    : undefined;
}
