import type { Digest, DigestAlgorithm } from "@strata/protocol/oci/digest";
import { isDigest } from "@strata/protocol/oci/digest";
import { isRepository } from "@strata/protocol/oci/reference";

import type { Authorize } from "../authorize.ts";
import { RegistryError } from "../errors.ts";
import { answerEmpty } from "../http/answer.ts";
import { askAccess } from "../http/ask-access.ts";
import { requestHeader } from "../http/env.ts";
import type { Exchange, Routes } from "../http/exchange.ts";
import { requireDigest } from "../http/parameters.ts";
import { parseChunkRange } from "../http/range.ts";
import { requestBody } from "../http/request-body.ts";
import { uploadHeaders } from "../http/upload-headers.ts";
import type { RegistryLimits } from "../limits.ts";
import type { BlobIndex } from "../metadata-store.ts";
import type { FindQuota } from "../quota.ts";
import type { Chunk } from "../receive.ts";
import type { ResourceOf } from "../resource.ts";
import type { UploadKey, Uploads } from "../uploads.ts";

export type UploadRoutesOptions = {
  readonly uploads: Uploads;
  readonly metadata: Pick<BlobIndex, "mountBlob" | "listRepositoriesWithBlob">;
  readonly limits: RegistryLimits;
  readonly clock: () => number;
  readonly authorize: Authorize;
  readonly quota: FindQuota;
};

/** distribution-spec v1.1, "Pushing Blobs": where an upload starts (end-4a, end-4b, end-4c, end-11). */
export function createUploadsRoutes(options: UploadRoutesOptions): Routes<ResourceOf<"uploads">> {
  return { POST: { action: "push", handle: (exchange) => startUpload(options, exchange) } };
}

/** One upload: chunk (end-5), close (end-6), status (end-13), cancel (end-14). */
export function createUploadRoutes(options: UploadRoutesOptions): Routes<ResourceOf<"upload">> {
  return {
    GET: { action: "push", handle: (exchange) => getStatus(options, exchange) },
    PATCH: { action: "push", handle: (exchange) => appendChunk(options, exchange) },
    PUT: { action: "push", handle: (exchange) => finishUpload(options, exchange) },
    DELETE: { action: "push", handle: (exchange) => cancelUpload(options, exchange) },
  };
}

async function startUpload(
  options: UploadRoutesOptions,
  exchange: Exchange<ResourceOf<"uploads">>,
): Promise<Response> {
  const { uploads } = options;
  const { resource, query, subject } = exchange;
  const { repository } = resource;
  const algorithm = parseAlgorithm(query.get("digest-algorithm"));
  const mounted = await mountBlob(options, exchange);
  if (mounted !== undefined) return answerCreated(repository, mounted);
  if (query.has("digest")) {
    const digest = requireDigest(query.get("digest"));
    await uploads.receiveWhole({
      repository,
      subject,
      digest,
      chunk: readChunk(options, exchange),
    });
    return answerCreated(repository, digest);
  }
  const id = await uploads.start({ repository, subject }, algorithm);
  return answerEmpty(202, uploadHeaders({ repository, id, storedBytes: 0 }));
}

/** distribution-spec v1.1, "Mounting a blob from another repository". Undefined when there is nothing to mount that
 * the caller may read: then an ordinary upload starts, and nobody learns whether the blob exists. */
async function mountBlob(
  { metadata, limits, clock, authorize, quota }: UploadRoutesOptions,
  { context, resource: { repository }, query }: Exchange<ResourceOf<"uploads">>,
): Promise<Digest | undefined> {
  const digest = query.get("mount");
  if (digest === null || !isDigest(digest)) return undefined;
  const source = query.get("from");
  const candidates =
    source === null
      ? await metadata.listRepositoriesWithBlob(digest, limits.mountCandidatesMax)
      : [source].filter(isRepository);
  for (const from of candidates) {
    const access = await askAccess(context, authorize, { action: "pull", repository: from });
    if (access.kind !== "allowed") continue;
    const mount = { from, repository, digest, at: clock(), quota: quota(repository) };
    if (await metadata.mountBlob(mount)) return digest;
  }
  return undefined;
}

async function getStatus(
  { uploads }: UploadRoutesOptions,
  exchange: Exchange<ResourceOf<"upload">>,
): Promise<Response> {
  const key = uploadKey(exchange);
  return answerEmpty(204, uploadHeaders({ ...key, storedBytes: await uploads.status(key) }));
}

async function appendChunk(
  options: UploadRoutesOptions,
  exchange: Exchange<ResourceOf<"upload">>,
): Promise<Response> {
  const key = uploadKey(exchange);
  const storedBytes = await options.uploads.append(key, readChunk(options, exchange));
  return answerEmpty(202, uploadHeaders({ ...key, storedBytes }));
}

async function finishUpload(
  options: UploadRoutesOptions,
  exchange: Exchange<ResourceOf<"upload">>,
): Promise<Response> {
  const digest = requireDigest(exchange.query.get("digest"));
  await options.uploads.finish(uploadKey(exchange), {
    digest,
    chunk: readChunk(options, exchange),
  });
  return answerCreated(exchange.resource.repository, digest);
}

async function cancelUpload(
  { uploads }: UploadRoutesOptions,
  exchange: Exchange<ResourceOf<"upload">>,
): Promise<Response> {
  await uploads.cancel(uploadKey(exchange));
  return answerEmpty(204, {});
}

function uploadKey({ resource, subject }: Exchange<ResourceOf<"upload">>): UploadKey {
  return { id: resource.uploadId, repository: resource.repository, subject };
}

function readChunk<Resource>(
  { limits }: UploadRoutesOptions,
  { context }: Exchange<Resource>,
): Chunk {
  const range = parseChunkRange(requestHeader(context, "content-range"));
  if (range === "invalid") {
    throw new RegistryError("RANGE_INVALID", "Content-Range is not <first byte>-<last byte>");
  }
  return { body: requestBody(context, limits), range };
}

function parseAlgorithm(text: string | null): DigestAlgorithm {
  switch (text) {
    case null:
    case "sha256":
      return "sha256";
    case "sha512":
      return "sha512";
    default:
      throw new RegistryError(
        "DIGEST_INVALID",
        `digest-algorithm ${text.slice(0, 100)} is unknown`,
        {
          hint: "use sha256 or sha512",
        },
      );
  }
}

function answerCreated(repository: string, digest: Digest): Response {
  return answerEmpty(201, {
    location: `/v2/${repository}/blobs/${digest}`,
    "docker-content-digest": digest,
  });
}
