import { createHash } from "node:crypto";

import { RESPONSE_ALREADY_SENT } from "@hono/node-server/utils/response";
import { type Digest, digestAlgorithm, isDigest, parseDigest } from "@strata/protocol/oci/digest";

import { type HeaderRecord, RegistryError } from "../errors.ts";
import { answerEmpty } from "../http/answer.ts";
import { entityTag, matchesAny } from "../http/conditional.ts";
import { requestHeader } from "../http/env.ts";
import type { Exchange, Routes } from "../http/exchange.ts";
import { requireDigest, requireReference, requireTag } from "../http/parameters.ts";
import { readSmallBody, requestBody } from "../http/request-body.ts";
import type { RegistryLimits } from "../limits.ts";
import { describeManifest } from "../manifest/describe-manifest.ts";
import { parseManifest } from "../manifest/parse-manifest.ts";
import type { ManifestDescriptor, ManifestIndex, PutManifest } from "../metadata-store.ts";
import type { FindQuota } from "../quota.ts";
import type { RecentUses } from "../recent-uses.ts";
import type { ResourceOf } from "../resource.ts";

/** A tag now points elsewhere: `digest` is undefined when it is gone, `previous` when it is new. */
export type TagMoved = {
  readonly repository: string;
  readonly tag: string;
  readonly digest: Digest | undefined;
  readonly previous: Digest | undefined;
};

export type ManifestRoutesOptions = {
  readonly metadata: ManifestIndex;
  readonly uses: Pick<RecentUses, "pulled" | "touched">;
  readonly limits: RegistryLimits;
  readonly clock: () => number;
  readonly onTagMoved: (move: TagMoved) => void;
  readonly quota: FindQuota;
  /** Whether manifests may name blobs and manifests that the repository does not have. */
  readonly sparse: boolean;
};

type ManifestExchange = Exchange<ResourceOf<"manifest">>;

/** distribution-spec v1.1, "Pulling manifests" (end-3), "Pushing Manifests" (end-7), "Deleting Manifests" (end-9). */
export function createManifestRoutes(
  options: ManifestRoutesOptions,
): Routes<ResourceOf<"manifest">> {
  return {
    GET: { action: "pull", handle: (exchange) => getManifest(options, exchange) },
    HEAD: { action: "pull", handle: (exchange) => headManifest(options, exchange) },
    PUT: { action: "push", handle: (exchange) => putManifest(options, exchange) },
    DELETE: { action: "delete", handle: (exchange) => deleteManifest(options, exchange) },
  };
}

async function getManifest(
  { metadata, uses }: ManifestRoutesOptions,
  { context, resource }: ManifestExchange,
): Promise<Response> {
  const { repository, reference } = resource;
  const manifest = await metadata.findManifest(repository, requireReference(reference));
  if (manifest === undefined) throw unknownManifest(resource);
  uses.pulled(repository, manifest.digest);
  const etag = entityTag(manifest.digest);
  if (matchesAny(requestHeader(context, "if-none-match"), etag)) {
    return answerEmpty(304, { etag, "docker-content-digest": manifest.digest });
  }
  // Past the web's Response: it costs more than all the rest.
  const { outgoing } = context.env;
  outgoing.writeHead(200, manifestHeaders(manifest));
  outgoing.end(manifest.body);
  return RESPONSE_ALREADY_SENT;
}

async function headManifest(
  { metadata, uses }: ManifestRoutesOptions,
  { resource }: ManifestExchange,
): Promise<Response> {
  const { repository, reference } = resource;
  // A client that hears yes may push an index on it, so the collector must know before the answer is found.
  if (isDigest(reference)) uses.touched(repository, reference);
  const found = await metadata.findManifestDescriptor(repository, requireReference(reference));
  if (found === undefined) throw unknownManifest(resource);
  uses.touched(repository, found.digest);
  return new Response(null, { headers: manifestHeaders(found) });
}

function manifestHeaders({ digest, mediaType, sizeBytes }: ManifestDescriptor): HeaderRecord {
  return {
    "content-type": mediaType,
    "content-length": String(sizeBytes),
    "docker-content-digest": digest,
    etag: entityTag(digest),
  };
}

async function putManifest(
  options: ManifestRoutesOptions,
  exchange: ManifestExchange,
): Promise<Response> {
  const { metadata, uses, limits, clock, sparse, onTagMoved } = options;
  const { context, resource, query } = exchange;
  const { repository } = resource;
  const target = parseTarget(exchange, limits.tagsPerPutMax);
  const body = await readSmallBody(requestBody(context, limits), limits.manifestSizeBytesMax);
  const digest = verifyDigest(body, target.digest);
  const parsed = parseManifest(body, requestHeader(context, "content-type"));
  const manifest: PutManifest = {
    ...describeManifest(parsed, { digest, body }),
    ...(sparse ? { references: parsed.references.map(withoutNeed) } : {}),
    repository,
    tags: target.tags,
    at: clock(),
    quota: options.quota(repository),
  };
  const result = await metadata.putManifest(manifest);
  if (result.kind !== "stored") throw incompleteManifest(result);
  for (const { tag, previous } of result.moves) {
    if (previous === digest) continue;
    if (previous !== undefined) uses.touched(repository, previous);
    onTagMoved({ repository, tag, digest, previous });
  }
  return answerEmpty(201, {
    location: `/v2/${repository}/manifests/${digest}`,
    "docker-content-digest": digest,
    ...(parsed.subject === undefined ? {} : { "oci-subject": parsed.subject }),
    ...(query.has("tag") ? { "oci-tag": target.tags.join(", ") } : {}),
  });
}

type Target = { readonly digest: Digest | undefined; readonly tags: readonly string[] };

/** What the manifest shall be called: the path's digest or tag, and the `tag` parameters (end-7b). */
function parseTarget({ resource, query }: ManifestExchange, tagsMax: number): Target {
  const reference = requireReference(resource.reference);
  const parameters = query.getAll("tag");
  if (parameters.length > tagsMax) {
    throw new RegistryError(
      "TOO_MANY_TAGS",
      `${parameters.length} tags, at most ${tagsMax} at once`,
      {
        hint: "push the manifest again with the other tags",
      },
    );
  }
  const tags = [...new Set(parameters.map(requireTag))];
  return isDigest(reference)
    ? { digest: reference, tags }
    : { digest: undefined, tags: [...new Set([reference, ...tags])] };
}

function verifyDigest(body: Buffer, wanted: Digest | undefined): Digest {
  const algorithm = wanted === undefined ? "sha256" : digestAlgorithm(wanted);
  const actual = parseDigest(`${algorithm}:${createHash(algorithm).update(body).digest("hex")}`);
  if (wanted === undefined || wanted === actual) return actual;
  throw new RegistryError("DIGEST_INVALID", `the manifest received hashes to ${actual}`, {
    hint: "send exactly the bytes that the digest was made from",
  });
}

function withoutNeed(reference: PutManifest["references"][number]): typeof reference {
  return { ...reference, required: false };
}

async function deleteManifest(
  { metadata, uses, onTagMoved }: ManifestRoutesOptions,
  { resource }: ManifestExchange,
): Promise<Response> {
  const { repository } = resource;
  const reference = requireReference(resource.reference);
  if (isDigest(reference)) {
    const removed = await metadata.removeManifest(repository, requireDigest(reference));
    if (removed === undefined) throw unknownManifest(resource);
    for (const tag of removed) {
      onTagMoved({ repository, tag, digest: undefined, previous: reference });
    }
  } else {
    const previous = await metadata.removeTag(repository, reference);
    if (previous === undefined) throw unknownManifest(resource);
    uses.touched(repository, previous);
    onTagMoved({ repository, tag: reference, digest: undefined, previous });
  }
  return answerEmpty(202, {});
}

function unknownManifest({ repository, reference }: ResourceOf<"manifest">): RegistryError {
  return new RegistryError("MANIFEST_UNKNOWN", `${repository} has no manifest ${reference}`);
}

type Incomplete = Exclude<
  Awaited<ReturnType<ManifestIndex["putManifest"]>>,
  { readonly kind: "stored" }
>;

const NAMED_MAX = 5;

function incompleteManifest(result: Incomplete): RegistryError {
  if (result.kind === "size-mismatch") {
    const { digest, storedBytes } = result;
    return new RegistryError(
      "MANIFEST_INVALID",
      `${digest} has ${storedBytes} bytes, not as the manifest says`,
    );
  }
  const named = result.digests.slice(0, NAMED_MAX).join(", ");
  const more =
    result.digests.length > NAMED_MAX ? `, and ${result.digests.length - NAMED_MAX} more` : "";
  return new RegistryError(
    "MANIFEST_BLOB_UNKNOWN",
    `the repository does not have ${named}${more}`,
    {
      hint: "push the blobs and child manifests first, into the same repository",
    },
  );
}
