import type { ServerResponse } from "node:http";

import { RESPONSE_ALREADY_SENT } from "@hono/node-server/utils/response";
import { getErrorCode } from "@strata/protocol/errors";
import { type Digest, digestAlgorithm, digestHex } from "@strata/protocol/oci/digest";

import type { BlobReader, OpenBlob } from "../blob-store.ts";
import type { BufferPool } from "../buffer-pool.ts";
import { type HeaderRecord, RegistryError } from "../errors.ts";
import { answerEmpty } from "../http/answer.ts";
import { blobHeaders } from "../http/blob-headers.ts";
import { allowsRange, entityTag, matchesAny } from "../http/conditional.ts";
import { requestHeader } from "../http/env.ts";
import type { Exchange, Routes } from "../http/exchange.ts";
import { createKernelCopy, type KernelCopy } from "../http/kernel-copy.ts";
import { requireDigest } from "../http/parameters.ts";
import { type ByteRange, parseRange } from "../http/range.ts";
import { type Piece, pieceBytes, sendPieces } from "../http/send-blob.ts";
import { SendError } from "../http/send-error.ts";
import type { RegistryLimits } from "../limits.ts";
import type { BlobIndex } from "../metadata-store.ts";
import type { RecentUses } from "../recent-uses.ts";
import type { ResourceOf } from "../resource.ts";
import { createRunningHash } from "../running-hash.ts";
import { createSoundBlobs, type SoundBlobs } from "../sound-blobs.ts";
import type { StoredBlobs } from "../stored-blobs.ts";

export type BlobRoutesOptions = {
  readonly blobs: BlobReader;
  readonly storedBlobs: Pick<StoredBlobs, "remove" | "distrust">;
  readonly metadata: Pick<BlobIndex, "findBlob" | "findBlobTime">;
  readonly uses: Pick<RecentUses, "blobTouched">;
  readonly buffers: BufferPool;
  readonly clock: () => number;
  readonly limits: RegistryLimits;
  /** Whether whole blobs are hashed on their way out; a corrupt one is cut off before its last bytes. */
  readonly verifyReads: boolean;
};

type State = BlobRoutesOptions & {
  readonly kernelCopy: KernelCopy | undefined;
  readonly soundBlobs: SoundBlobs;
};
type BlobExchange = Exchange<ResourceOf<"blob">>;

/** distribution-spec v1.1, "Pulling blobs" (end-2), "Deleting Blobs" (end-10). */
export function createBlobRoutes(options: BlobRoutesOptions): Routes<ResourceOf<"blob">> {
  const state: State = {
    ...options,
    kernelCopy: createKernelCopy(),
    soundBlobs: createSoundBlobs(options.clock),
  };
  return {
    GET: { action: "pull", handle: (exchange) => getBlob(state, exchange) },
    HEAD: { action: "pull", handle: (exchange) => headBlob(options, exchange) },
    DELETE: { action: "delete", handle: (exchange) => deleteBlob(options, exchange) },
  };
}

async function headBlob(
  { metadata, uses }: BlobRoutesOptions,
  { resource }: BlobExchange,
): Promise<Response> {
  const digest = requireDigest(resource.digest);
  // A client that hears yes builds on it, so the collector must know before the answer is found.
  uses.blobTouched(resource.repository, digest);
  const sizeBytes = await metadata.findBlob(resource.repository, digest);
  if (sizeBytes === undefined) throw unknownBlob(resource);
  const since = await metadata.findBlobTime(digest);
  const headers = {
    ...blobHeaders(digest),
    "content-length": String(sizeBytes),
    // Whoever packs what is new asks for it.
    ...(since === undefined ? {} : { "last-modified": new Date(since).toUTCString() }),
  };
  return new Response(null, { headers });
}

async function getBlob(options: State, exchange: BlobExchange): Promise<Response> {
  const { resource, context } = exchange;
  const digest = requireDigest(resource.digest);
  const sizeBytes = await options.metadata.findBlob(resource.repository, digest);
  if (sizeBytes === undefined) throw unknownBlob(resource);
  if (matchesAny(requestHeader(context, "if-none-match"), entityTag(digest))) {
    return answerEmpty(304, blobHeaders(digest));
  }
  await using blob = await options.blobs.open(digest);
  if (blob?.sizeBytes !== sizeBytes) {
    await options.storedBlobs.distrust(digest);
    throw unknownBlob(resource);
  }
  const plan = planAnswer(exchange, { digest, sizeBytes, rangesMax: options.limits.rangesMax });
  const { outgoing } = context.env;
  outgoing.writeHead(plan.status, plan.headers);
  try {
    await sendBlob(options, outgoing, { digest, blob, plan });
  } catch (error) {
    // First out of service: a client that asks again must not meet the same blob.
    if (getErrorCode(error) !== "CLIENT_GONE") await options.storedBlobs.distrust(digest);
    throw error;
  }
  return RESPONSE_ALREADY_SENT;
}

type Sending = { readonly digest: Digest; readonly blob: OpenBlob; readonly plan: Plan };

/** Hashes a whole blob on its way, unless its file was found sound lately. */
async function sendBlob(
  options: State,
  outgoing: ServerResponse,
  { digest, blob, plan }: Sending,
): Promise<void> {
  const { buffers, kernelCopy, soundBlobs, limits, clock } = options;
  const { pieces } = plan;
  const common = { pieces, buffers, kernelCopy, silenceMsMax: limits.downloadSilenceMsMax };
  const verify = options.verifyReads && plan.status === 200 && !soundBlobs.has(digest, blob.file);
  if (!verify) return sendPieces(outgoing, blob, common);
  const since = clock();
  await sendPieces(outgoing, blob, { ...common, inspect: inspectAgainst(digest) });
  soundBlobs.add(digest, blob.file, since);
}

type Plan = {
  readonly status: 200 | 206;
  readonly headers: HeaderRecord;
  readonly pieces: readonly Piece[];
};

type Content = { readonly digest: Digest; readonly sizeBytes: number; readonly rangesMax: number };

/** @throws RegistryError RANGE_INVALID */
function planAnswer({ context }: BlobExchange, content: Content): Plan {
  const { digest, sizeBytes } = content;
  const headers = blobHeaders(digest);
  const request = allowsRange(requestHeader(context, "if-range"), entityTag(digest))
    ? parseRange(requestHeader(context, "range"), content)
    : ({ kind: "whole" } as const);
  switch (request.kind) {
    case "whole": {
      const pieces = sizeBytes === 0 ? [] : [{ start: 0, end: sizeBytes - 1 }];
      return { status: 200, headers: { ...headers, "content-length": String(sizeBytes) }, pieces };
    }
    case "unsatisfiable":
      throw new RegistryError("RANGE_INVALID", `the blob has ${sizeBytes} bytes`, {
        headers: { "content-range": `bytes */${sizeBytes}` },
      });
    case "partial":
      return planPartial(headers, content, request.ranges);
    default:
      return request satisfies never;
  }
}

function planPartial(headers: HeaderRecord, content: Content, ranges: readonly ByteRange[]): Plan {
  const [first, ...others] = ranges;
  const parts = first !== undefined && others.length === 0 ? [first] : multipart(content, ranges);
  const length = parts.reduce((sum, piece) => sum + pieceBytes(piece), 0);
  const about =
    first !== undefined && others.length === 0
      ? { "content-range": contentRange(first, content) }
      : { "content-type": `multipart/byteranges; boundary=${boundary(content)}` };
  return {
    status: 206,
    headers: { ...headers, ...about, "content-length": String(length) },
    pieces: parts,
  };
}

/** RFC 9110, section 14.6. */
function multipart(content: Content, ranges: readonly ByteRange[]): readonly Piece[] {
  const parts = ranges.flatMap((range): readonly Piece[] => [
    `\r\n--${boundary(content)}\r\nContent-Type: application/octet-stream\r\nContent-Range: ${contentRange(range, content)}\r\n\r\n`,
    range,
  ]);
  return [...parts, `\r\n--${boundary(content)}--\r\n`];
}

/** No content holds its own digest but by design; the parts' lengths are told anyway. */
function boundary({ digest }: Content): string {
  return digestHex(digest).slice(0, 48);
}

function contentRange({ start, end }: ByteRange, { sizeBytes }: Content): string {
  return `bytes ${start}-${end}/${sizeBytes}`;
}

function inspectAgainst(digest: Digest): (piece: Uint8Array, last: boolean) => void {
  const hash = createRunningHash(digestAlgorithm(digest));
  return (piece, last) => {
    hash.update(piece);
    if (last && hash.digest() !== digest) {
      throw new SendError("BLOB_UNSOUND", `the bytes stored do not hash to ${digest}`);
    }
  };
}

async function deleteBlob(
  { storedBlobs }: BlobRoutesOptions,
  { resource }: BlobExchange,
): Promise<Response> {
  const digest = requireDigest(resource.digest);
  switch (await storedBlobs.remove(resource.repository, digest)) {
    case "absent":
      throw unknownBlob(resource);
    case "referenced":
      throw new RegistryError(
        "BLOB_IN_USE",
        `a manifest of ${resource.repository} needs ${digest}`,
        {
          hint: "delete the manifest first",
        },
      );
    default:
      return answerEmpty(202, {});
  }
}

function unknownBlob({ repository, digest }: ResourceOf<"blob">): RegistryError {
  return new RegistryError("BLOB_UNKNOWN", `${repository} has no blob ${digest}`, {
    hint: "push it to this repository, or mount it from another one",
  });
}
