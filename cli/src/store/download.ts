/** Manifests and blobs out of a store, held against their digests. */
import { createHash } from "node:crypto";
import { setTimeout as delay } from "node:timers/promises";

import { type Digest, digestAlgorithm, isDigest, parseDigest } from "@strata/protocol/oci/digest";
import { type Descriptor, MANIFEST_SIZE_BYTES_MAX } from "@strata/protocol/oci/image";
import { manifestMediaTypes } from "@strata/protocol/oci/media-type";

import { chunksOf } from "../chunks.ts";
import { CliError } from "../errors.ts";
import {
  discard,
  headerOf,
  type OpenAnswer,
  readBytes,
  refusal,
  type StoreClient,
} from "./client.ts";

/** A file of the store, as it has to be. */
export type Download = {
  readonly path: string;
  readonly digest: Digest;
  readonly size: number;
};

export type FoundManifest = { readonly descriptor: Descriptor; readonly bytes: Buffer };

const ATTEMPTS_MAX = 5;
const DELAY_FIRST_MS = 250;
const REFUSAL_BYTES_MAX = 64 * 1024;
const accept = manifestMediaTypes.join(", ");

/** The manifest or index that a tag or digest names; undefined when the store has none.
 * @throws CliError UNREACHABLE after ATTEMPTS_MAX attempts, REFUSED when its bytes are not what the digest says */
export async function findManifest(
  store: StoreClient,
  repository: string,
  reference: string,
): Promise<FoundManifest | undefined> {
  for (let attempt = 1; ; attempt += 1) {
    try {
      return await getManifest(store, repository, reference);
    } catch (error) {
      if (!isRetryable(error) || attempt >= ATTEMPTS_MAX) throw error;
      await delay(DELAY_FIRST_MS * 2 ** (attempt - 1));
    }
  }
}

async function getManifest(
  store: StoreClient,
  repository: string,
  reference: string,
): Promise<FoundManifest | undefined> {
  const path = `/v2/${repository}/manifests/${reference}`;
  const answer = await store.open({ method: "GET", path, headers: { accept } });
  if (answer.status === 404) {
    discard(answer);
    return undefined;
  }
  if (answer.status !== 200) throw await refusalOf(answer, `${repository} ${reference}`);
  const bytes = await readBytes(unbroken(answer, path), MANIFEST_SIZE_BYTES_MAX);
  const told = headerOf(answer, "docker-content-digest") ?? "";
  const digest = hashOf(bytes, isDigest(reference) || !isDigest(told) ? reference : told);
  if (isDigest(reference) && digest !== reference) {
    throw new CliError("REFUSED", `the store gave other bytes for ${reference}`);
  }
  const mediaType = (headerOf(answer, "content-type") ?? "").split(";", 1)[0]?.trim() ?? "";
  return { descriptor: { mediaType, digest, size: bytes.length }, bytes };
}

/** By the algorithm of `like`, or sha256 when that is a tag. */
function hashOf(bytes: Buffer, like: string): Digest {
  const algorithm = isDigest(like) ? digestAlgorithm(like) : "sha256";
  return parseDigest(`${algorithm}:${createHash(algorithm).update(bytes).digest("hex")}`);
}

/** The bytes of one file of the store. Goes on where a connection broke; ends only when length and digest are right.
 * @throws CliError UNREACHABLE after ATTEMPTS_MAX attempts in a row without a byte, or REFUSED */
export async function* download(
  store: StoreClient,
  { path, digest, size }: Download,
  signal: AbortSignal,
): AsyncGenerator<Buffer> {
  const hash = createHash(digestAlgorithm(digest));
  let received = 0;
  for (let attempt = 1; received < size || attempt === 1;) {
    try {
      for await (const chunk of openFrom(store, path, received)) {
        received += chunk.length;
        if (received > size) throw wrong(path, `longer than ${size} bytes`);
        hash.update(chunk);
        attempt = 1;
        yield chunk;
      }
      if (received < size)
        throw new CliError("UNREACHABLE", `${digest} broke off`, { retryable: true });
      break;
    } catch (error) {
      if (!isRetryable(error) || attempt >= ATTEMPTS_MAX) throw error;
      await delay(DELAY_FIRST_MS * 2 ** (attempt - 1), undefined, { signal });
      attempt += 1;
    }
  }
  const actual = parseDigest(`${digestAlgorithm(digest)}:${hash.digest("hex")}`);
  if (actual !== digest) throw wrong(path, `damaged: its bytes hash to ${actual}`);
}

/** RFC 9110, "Range": the rest of a blob. */
async function* openFrom(store: StoreClient, path: string, start: number): AsyncGenerator<Buffer> {
  const headers: Record<string, string> = start === 0 ? {} : { range: `bytes=${start}-` };
  const answer = await store.open({ method: "GET", path, headers });
  if (answer.status !== (start === 0 ? 200 : 206)) throw await refusalOf(answer, path);
  yield* unbroken(answer, path);
}

/** The body of an answer.
 * @throws CliError UNREACHABLE when it breaks off */
async function* unbroken({ body }: OpenAnswer, path: string): AsyncGenerator<Buffer> {
  try {
    yield* chunksOf(body);
  } catch (cause) {
    throw new CliError("UNREACHABLE", `the store broke ${path} off`, {
      cause,
      retryable: true,
      hint: "try again when the network is better",
    });
  }
}

async function refusalOf(answer: OpenAnswer, what: string): Promise<CliError> {
  const body = (await readBytes(unbroken(answer, what), REFUSAL_BYTES_MAX)).toString();
  return refusal({ ...answer, body }, what);
}

function isRetryable(error: unknown): boolean {
  return error instanceof CliError && error.retryable;
}

function wrong(path: string, how: string): CliError {
  return new CliError("REFUSED", `${path} of the store is ${how}`, {
    hint: "push the image to that store again",
  });
}
