/** Holds the images of a bundle against keys, before anything of it is written. */
import { readFile } from "node:fs/promises";

import type { Digest } from "@strata/protocol/oci/digest";
import {
  KEY_LENGTH_MAX,
  parsePublicKey,
  type SigningKey,
} from "@strata/protocol/signature/public-key";
import {
  findSignatureBlobs,
  readSignatures,
  type Signature,
  SIGNATURE_BLOB_BYTES_MAX,
  signatureTag,
  signatureTypes,
} from "@strata/protocol/signature/read-signatures";
import { verifySignatures } from "@strata/protocol/signature/verify-signatures";

import { chunksOf } from "../chunks.ts";
import { CliError } from "../errors.ts";
import { blobUrl, type StoreClient } from "../store/client.ts";
import { download } from "../store/download.ts";
import { gather } from "./gather.ts";
import type { Manifest } from "./manifest.ts";
import type { Bundle } from "./read.ts";
import { isSignatureTag, type NeededBlob, type RepositoryPlan } from "./verify.ts";

const SIGNATURES_MAX = 64;

/** @throws CliError USAGE */
export async function readKeys(files: readonly string[]): Promise<readonly SigningKey[]> {
  return Promise.all(
    files.map(async (name) => {
      const pem = await readFile(name, "utf8").catch((cause: unknown) => {
        throw new CliError("USAGE", `${name} cannot be read`, { cause });
      });
      return { name, key: parsePublicKey(pem.slice(0, KEY_LENGTH_MAX + 1)) };
    }),
  );
}

type Check = {
  readonly store: StoreClient;
  readonly bundle: Bundle;
  readonly keys: readonly SigningKey[];
  /** Where blobs are that the bundle leaves out. */
  readonly holders: ReadonlyMap<Digest, string>;
  readonly signal: AbortSignal;
};

/** Every image that a name or a digest alone brings has to be signed.
 * @throws CliError SIGNATURE_INVALID */
export async function requireSigned(check: Check, plans: readonly RepositoryPlan[]): Promise<void> {
  for (const plan of plans) {
    const wanted = check.bundle.entries.filter(
      ({ repository, tag }) => repository === plan.repository && !belongsToOther(plan, tag),
    );
    for (const { tag, descriptor } of wanted) {
      const subject = plan.manifests.get(descriptor.digest)?.subject;
      // What only refers to another image is never run: a tag would have to name it.
      if (tag === undefined && subject !== undefined) continue;
      await requireImage(check, plan, descriptor.digest);
    }
  }
}

/** Whether this is the tag of what is said about a manifest that is there, too. */
function belongsToOther({ manifests }: RepositoryPlan, tag: string | undefined): boolean {
  if (tag === undefined || !isSignatureTag(tag)) return false;
  const [subject = ""] = tag.split(".", 1);
  return [...manifests.keys()].some((digest) => digest.replace(":", "-") === subject);
}

async function requireImage(check: Check, plan: RepositoryPlan, digest: Digest): Promise<void> {
  const signatures: Signature[] = [];
  for (const manifest of signaturesOf(plan, digest)) {
    for (const blob of findSignatureBlobs(manifest.bytes)) {
      const needed = plan.blobs.get(blob.digest);
      if (needed === undefined || signatures.length >= SIGNATURES_MAX) continue;
      signatures.push(...readSignatures(blob, await readBlob(check, needed)));
    }
  }
  const verdict = verifySignatures({ digest, signatures, keys: check.keys });
  if (verdict.isSigned) return;
  const name = `${plan.repository}@${digest}`;
  throw new CliError("SIGNATURE_INVALID", `${name} is refused: ${verdict.reason}`, {
    hint: "sign it with: cosign sign --key KEY IMAGE; and create the bundle again",
  });
}

function signaturesOf({ manifests, tags }: RepositoryPlan, digest: Digest): readonly Manifest[] {
  const tagged = tags.find(({ tag }) => tag === signatureTag(digest))?.descriptor.digest;
  return [...manifests.values()].filter(
    ({ descriptor, subject, artifactType }) =>
      descriptor.digest === tagged ||
      (subject?.digest === digest && signatureTypes.includes(artifactType ?? "")),
  );
}

async function readBlob(
  { store, bundle, holders, signal }: Check,
  { digest, size, origin }: NeededBlob,
): Promise<Buffer> {
  if (size > SIGNATURE_BLOB_BYTES_MAX) return Buffer.alloc(0);
  if (origin.kind === "archive") return gather(chunksOf(bundle.archive.stream(origin.file)), size);
  const holder = holders.get(digest);
  if (holder === undefined) return Buffer.alloc(0);
  return gather(download(store, { path: blobUrl(holder, digest), digest, size }, signal), size);
}
