/** Whether an image is signed by one of a few keys. Pure: no network, no clock, no log of others. */
import { verify } from "node:crypto";

import { z } from "zod";

import { type Digest, digestAlgorithm, digestHex } from "../oci/digest.ts";
import { parseStrictJson } from "../oci/strict-json.ts";
import type { SigningKey } from "./public-key.ts";
import { type Signature, STATEMENT_TYPE } from "./read-signatures.ts";

export type Verdict =
  | { readonly isSigned: true; readonly key: string }
  | { readonly isSigned: false; readonly reason: string };

const Payload = z.looseObject({
  critical: z.looseObject({
    type: z.literal("cosign container image signature"),
    image: z.looseObject({ "docker-manifest-digest": z.string() }),
  }),
});

const Statement = z.looseObject({
  _type: z.enum(["https://in-toto.io/Statement/v1", "https://in-toto.io/Statement/v0.1"]),
  // A key may also sign where an image came from, or what is in it. That does not say: run it.
  predicateType: z.literal("https://sigstore.dev/cosign/sign/v1"),
  subject: z.array(z.looseObject({ digest: z.record(z.string(), z.string()) })).max(64),
});

/** One good signature is enough, whatever else is there. What the payload says of the image's name does not count: an
 * image keeps its signature in another store. */
export function verifySignatures({
  digest,
  signatures,
  keys,
}: {
  readonly digest: Digest;
  readonly signatures: readonly Signature[];
  readonly keys: readonly SigningKey[];
}): Verdict {
  if (signatures.length === 0) return { isSigned: false, reason: "it has no signature" };
  let reason = `none of its ${signatures.length} signatures is by a key that counts`;
  for (const signature of signatures) {
    const payload = decodeBase64(signature.payload);
    const signed = decodeBase64(signature.signature);
    if (payload === undefined || signed === undefined) continue;
    const key = keys.find((one) => isBy(one, { form: signature.form, payload, signed }));
    if (key === undefined) continue;
    if (names(signature.form, payload, digest)) return { isSigned: true, key: key.name };
    reason = `its signature by ${key.name} is for something else`;
  }
  return { isSigned: false, reason };
}

type Signed = {
  readonly form: Signature["form"];
  readonly payload: Buffer;
  readonly signed: Buffer;
};

function isBy({ key }: SigningKey, { form, payload, signed }: Signed): boolean {
  const bytes = form === "payload" ? payload : encodeForSigning(payload);
  // The key decides by which algorithm, never what came with the signature.
  return verify(key.asymmetricKeyType === "ed25519" ? null : "sha256", bytes, key, signed);
}

/** DSSE v1, "Pre-Authentication Encoding". */
function encodeForSigning(payload: Buffer): Buffer {
  const head = `DSSEv1 ${STATEMENT_TYPE.length} ${STATEMENT_TYPE} ${payload.length} `;
  return Buffer.concat([Buffer.from(head), payload]);
}

function names(form: Signature["form"], payload: Buffer, digest: Digest): boolean {
  let value: unknown;
  try {
    value = parseStrictJson(payload);
  } catch {
    return false;
  }
  if (form === "payload") {
    const parsed = Payload.safeParse(value);
    return parsed.success && parsed.data.critical.image["docker-manifest-digest"] === digest;
  }
  const parsed = Statement.safeParse(value);
  if (!parsed.success) return false;
  const algorithm = digestAlgorithm(digest);
  return parsed.data.subject.some((subject) => subject.digest[algorithm] === digestHex(digest));
}

function decodeBase64(text: string): Buffer | undefined {
  return /^[A-Za-z0-9+/]*={0,2}$/.test(text) ? Buffer.from(text, "base64") : undefined;
}
