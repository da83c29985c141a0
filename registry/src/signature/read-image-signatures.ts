/** The signatures of an image in a store. */
import type { Digest } from "@strata/protocol/oci/digest";
import {
  findSignatureBlobs,
  readSignatures,
  type Signature,
  SIGNATURE_BLOB_BYTES_MAX,
  signatureTag,
  signatureTypes,
} from "@strata/protocol/signature/read-signatures";

/** The part of a registry that this needs. */
export type SignatureSource = {
  readonly resolve: (
    repository: string,
    reference: string,
  ) => Promise<{ readonly body: Uint8Array } | undefined>;
  readonly readBlob: (request: {
    readonly repository: string;
    readonly digest: string;
    readonly sizeBytesMax: number;
  }) => Promise<Uint8Array | undefined>;
  /** Manifests of a type that refer to this one; the first ones by digest, if they are many. */
  readonly listReferrers: (request: ListReferrers) => Promise<readonly Digest[]>;
};

export type ListReferrers = {
  readonly repository: string;
  readonly subject: Digest;
  readonly artifactType: string;
};

/** More are not looked at: whoever may push could otherwise make every look at an image long. */
const SIGNATURES_MAX = 64;

/** All that look like signatures, whoever made them: by cosign's tag, and by the referrers API. */
export async function readImageSignatures(
  source: SignatureSource,
  { repository, digest }: { readonly repository: string; readonly digest: Digest },
): Promise<readonly Signature[]> {
  const referrers = await Promise.all(
    signatureTypes.map((artifactType) =>
      source.listReferrers({ repository, subject: digest, artifactType }),
    ),
  );
  const references = [signatureTag(digest), ...referrers.flat()];
  const found: Signature[] = [];
  for (const reference of references) {
    const manifest = await source.resolve(repository, reference);
    if (manifest === undefined) continue;
    for (const blob of findSignatureBlobs(manifest.body)) {
      const request = { repository, digest: blob.digest, sizeBytesMax: SIGNATURE_BLOB_BYTES_MAX };
      const bytes = await source.readBlob(request);
      if (bytes !== undefined) found.push(...readSignatures(blob, bytes));
      if (found.length >= SIGNATURES_MAX) return found.slice(0, SIGNATURES_MAX);
    }
  }
  return found;
}
