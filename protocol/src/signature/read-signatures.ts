/** Signatures of images in the forms that cosign writes, as a registry keeps them. Pure.
 *
 * The one form: a manifest with the tag `sha256-….sig`, or a referrer of type
 * `application/vnd.dev.cosign.artifact.sig.v1+json`. Each of its layers is a payload ("simple signing"), whose signature
 * is an annotation. The other form: a referrer of type `application/vnd.dev.sigstore.bundle.v0.3+json`, whose layer is a
 * Sigstore bundle with a DSSE envelope around an in-toto statement. */
import { z } from "zod";

import type { Digest } from "../oci/digest.ts";
import { digestAlgorithm, digestHex } from "../oci/digest.ts";
import { ImageManifest } from "../oci/image.ts";
import { parseStrictJson } from "../oci/strict-json.ts";

/** One signature with what it signs, both in base64. */
export type Signature = {
  readonly form: "payload" | "statement";
  readonly payload: string;
  readonly signature: string;
};

/** A blob that holds signatures. */
export type SignatureBlob = {
  readonly digest: Digest;
  readonly size: number;
  /** Of a payload; undefined for a bundle, which has its own within. */
  readonly signature: string | undefined;
};

export const SIGNATURE_BLOB_BYTES_MAX = 256 * 1024;
/** Layers of one manifest that are looked at, and signatures of one envelope. */
const SIGNATURES_MAX = 16;
const SIGNATURE_LENGTH_MAX = 4096;

const payloadType = "application/vnd.dev.cosign.simplesigning.v1+json";
const artifactType = "application/vnd.dev.cosign.artifact.sig.v1+json";
const bundleType = "application/vnd.dev.sigstore.bundle.v0.3+json";
/** Types of referrers that may hold signatures. */
export const signatureTypes: readonly string[] = [artifactType, bundleType];
const signatureAnnotation = "dev.cosignproject.cosign/signature";
export const STATEMENT_TYPE = "application/vnd.in-toto+json";

/** Where cosign puts the signatures of an image. */
export function signatureTag(digest: Digest): string {
  return `${digestAlgorithm(digest)}-${digestHex(digest)}.sig`;
}

/** The blobs of a manifest that hold signatures; none when it is something else. */
export function findSignatureBlobs(manifest: Uint8Array): readonly SignatureBlob[] {
  const parsed = ImageManifest.safeParse(parseOrNothing(manifest));
  if (!parsed.success) return [];
  return parsed.data.layers.slice(0, SIGNATURES_MAX).flatMap((layer): SignatureBlob[] => {
    const { mediaType, digest, size, annotations } = layer;
    if (size > SIGNATURE_BLOB_BYTES_MAX) return [];
    if (mediaType === bundleType) return [{ digest, size, signature: undefined }];
    const signature = annotations?.[signatureAnnotation];
    const isSigned = mediaType === payloadType && signature !== undefined;
    return isSigned && isShort(signature) ? [{ digest, size, signature }] : [];
  });
}

const Envelope = z.looseObject({
  payloadType: z.literal(STATEMENT_TYPE),
  payload: z.string(),
  signatures: z
    .array(z.looseObject({ sig: z.string().max(SIGNATURE_LENGTH_MAX) }))
    .max(SIGNATURES_MAX),
});
const SigstoreBundle = z.looseObject({
  mediaType: z.literal(bundleType),
  dsseEnvelope: Envelope,
});

/** The signatures in the bytes of such a blob; none when it is something else. */
export function readSignatures(
  { signature }: Pick<SignatureBlob, "signature">,
  bytes: Uint8Array,
): readonly Signature[] {
  if (signature !== undefined) {
    return [{ form: "payload", payload: Buffer.from(bytes).toString("base64"), signature }];
  }
  const parsed = SigstoreBundle.safeParse(parseOrNothing(bytes));
  if (!parsed.success) return [];
  const { payload, signatures } = parsed.data.dsseEnvelope;
  return signatures.map(({ sig }) => ({ form: "statement", payload, signature: sig }));
}

function isShort(signature: string): boolean {
  return signature.length <= SIGNATURE_LENGTH_MAX;
}

/** Anybody may push something that looks like a signature: what cannot be read is none. */
function parseOrNothing(bytes: Uint8Array): unknown {
  try {
    return parseStrictJson(bytes);
  } catch {
    return undefined;
  }
}
