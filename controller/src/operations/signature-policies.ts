import type { SignaturePolicyInput } from "@strata/protocol/api/store-rules";
import { type Digest, parseDigest } from "@strata/protocol/oci/digest";
import { parsePublicKey } from "@strata/protocol/signature/public-key";
import type { Signature } from "@strata/protocol/signature/read-signatures";
import { verifySignatures } from "@strata/protocol/signature/verify-signatures";
import { compileGlob } from "@strata/registry/glob";
import type { z } from "zod";

import { ControllerError } from "../errors.ts";
import {
  deleteSignaturePolicy,
  getSignaturePolicy,
  listAllSignaturePolicies,
  saveSignaturePolicy,
  type SignaturePolicyRow,
} from "../store/signatures.ts";
import type { Unit } from "../store/unit.ts";
import type { Delete, Put } from "./partitions.ts";
import { type Outcome, requireFound, requirePrecondition, upsert } from "./upsert.ts";

/** It counts from the next cartridge that is put and from the next process that is placed; what runs goes on. */
export function putSignaturePolicy(
  unit: Unit,
  { name, input, precondition }: Put<z.output<typeof SignaturePolicyInput>>,
): Outcome<SignaturePolicyRow> {
  return upsert(unit, {
    kind: "signature-policy",
    name,
    current: getSignaturePolicy(unit.sql, name),
    fields: { repositories: input.repositories, mode: input.mode, keys: input.keys },
    precondition,
    toRow: (fields, stored) => ({ name, ...fields, ...stored }),
    save: (row) => saveSignaturePolicy(unit.sql, row),
  });
}

export function removeSignaturePolicy(unit: Unit, { name, precondition }: Delete): void {
  const row = requireFound(getSignaturePolicy(unit.sql, name), { kind: "signature policy", name });
  requirePrecondition(precondition, row, `signature policy ${name}`);
  deleteSignaturePolicy(unit.sql, name);
  unit.emit({
    type: "signature-policy.deleted",
    subject: name,
    message: `signature policy ${name} was deleted`,
  });
}

export type SignedImage = {
  readonly repository: string;
  readonly digest: string;
  /** All that look like signatures of it. */
  readonly signatures: readonly Signature[];
};

/** What a policy has against an image. */
export type Objection = {
  readonly mode: "warn" | "enforce";
  readonly policy: string;
  /** A whole sentence without its full stop. */
  readonly message: string;
};

/** Undefined when the image is as the policy wants it, or no policy is for it. */
export function findObjection(
  policies: readonly SignaturePolicyRow[],
  { repository, digest, signatures }: SignedImage,
): Objection | undefined {
  const policy = policies.find(({ repositories }) =>
    repositories.some((pattern) => compileGlob(pattern)(repository)),
  );
  if (policy === undefined || policy.mode === "off") return undefined;
  const { name, mode } = policy;
  const keys = policy.keys.map((key) => ({ name: key.name, key: parsePublicKey(key.publicKey) }));
  const wanted: Digest = parseDigest(digest);
  const verdict = verifySignatures({ digest: wanted, signatures, keys });
  if (verdict.isSigned) return undefined;
  const message = `image ${repository}@${digest} is not signed as policy ${name} wants: ${verdict.reason}`;
  return { mode, policy: name, message };
}

/** Holds the image of a cartridge against the policies.
 * @returns What one of them warns of
 * @throws ControllerError IMAGE_UNSIGNED */
export function requireSigned(unit: Unit, image: SignedImage): Objection | undefined {
  const objection = findObjection(listAllSignaturePolicies(unit.sql), image);
  if (objection?.mode !== "enforce") return objection;
  throw new ControllerError("IMAGE_UNSIGNED", objection.message, {
    hint: "sign it: cosign sign --key KEY IMAGE; then send the cartridge again",
  });
}

/** Says what a policy would refuse. */
export function emitUnsigned(unit: Unit, cartridge: string, objection: Objection): void {
  const { policy, message } = objection;
  unit.emit({ type: "cartridge.unsigned", subject: cartridge, message, data: { policy } });
}
