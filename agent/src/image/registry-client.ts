/** Pulls from a registry as OCI distribution-spec v1.1 says, "Pulling". One base URL, one credential; redirects and
 * the `urls` of descriptors are not followed, so nothing in an image chooses where this node connects to. */
import { type Digest, isDigest } from "@strata/protocol/oci/digest";
import { MANIFEST_SIZE_BYTES_MAX } from "@strata/protocol/oci/image";
import { mediaTypes } from "@strata/protocol/oci/media-type";
import type { Dispatcher } from "undici";

import { digestOf, requireDigest } from "./content.ts";
import { PullError } from "./errors.ts";
import { defaultRetryPolicy, pause, type RetryPolicy } from "./retry.ts";

export type RegistryClientOptions = {
  /** Holds the connections and, for TLS, what to trust. The caller closes it. */
  readonly dispatcher: Dispatcher;
  /** Such as `https://controller:7070`. */
  readonly baseUrl: URL;
  /** Bearer token, if the registry wants one. Asked for at each request, for it may be renewed. */
  readonly credential?: () => string | undefined;
  readonly retry?: RetryPolicy;
  /** Silence after which a connection counts as dropped [30 s]. */
  readonly silenceMaxMs?: number;
};

/** What to fetch, and how much of it there must be. */
export type BlobRequest = {
  readonly repository: string;
  readonly digest: Digest;
  readonly size: number;
  /** Bytes that are here already [0]. */
  readonly offset?: number;
  readonly signal: AbortSignal;
};

export type Manifest = {
  readonly mediaType: string;
  readonly digest: Digest;
  readonly bytes: Buffer;
};

export type RegistryClient = {
  /** The manifest or index behind a digest, or behind a tag. Bytes are checked against the digest asked for.
   * @throws PullError */
  readonly getManifest: (request: {
    readonly repository: string;
    readonly reference: string;
    readonly signal: AbortSignal;
  }) => Promise<Manifest>;
  /** The blob's bytes as they come, up to `size` exactly; goes on by Range where a connection broke. The caller
   * hashes them: bytes are handed out before the last one is known.
   * @throws PullError */
  readonly streamBlob: (request: BlobRequest) => AsyncIterable<Buffer>;
};

const DEFAULT_SILENCE_MS = 30_000;
const ACCEPT = [
  mediaTypes.manifest,
  mediaTypes.index,
  mediaTypes.dockerManifest,
  mediaTypes.dockerList,
].join(", ");

export function createRegistryClient(options: RegistryClientOptions): RegistryClient {
  const client = new Client(options);
  return {
    getManifest: (request) => client.getManifest(request),
    streamBlob: (request) => client.streamBlob(request),
  };
}

type Answer = Dispatcher.ResponseData;
type Get = {
  readonly path: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly signal: AbortSignal;
};

class Client {
  readonly #options: RegistryClientOptions;
  readonly #retry: RetryPolicy;

  constructor(options: RegistryClientOptions) {
    this.#options = options;
    this.#retry = options.retry ?? defaultRetryPolicy;
  }

  async getManifest(request: {
    readonly repository: string;
    readonly reference: string;
    readonly signal: AbortSignal;
  }): Promise<Manifest> {
    const { repository, reference, signal } = request;
    const path = `/v2/${repository}/manifests/${reference}`;
    for (let failures = 1; ; failures += 1) {
      try {
        const answer = await this.#get({ path, headers: { accept: ACCEPT }, signal });
        requireFound(answer, `${repository}:${reference}`, "IMAGE_NOT_FOUND");
        const bytes = await readBounded(answer, MANIFEST_SIZE_BYTES_MAX);
        return checkManifest({ bytes, reference, mediaType: mediaTypeOf(answer) });
      } catch (error) {
        await this.#pauseOrThrow({ error, failures, signal, what: path });
      }
    }
  }

  async *streamBlob(request: BlobRequest): AsyncGenerator<Buffer, void> {
    const { repository, digest, size, offset = 0, signal } = request;
    const path = `/v2/${repository}/blobs/${digest}`;
    let received = offset;
    let failures = 0;
    for (;;) {
      const before = received;
      try {
        for await (const chunk of this.#bodyFrom({ path, offset: received, signal, digest })) {
          received += chunk.length;
          if (received > size) throw sizeMismatch(digest, `more than ${size} bytes`);
          yield chunk;
        }
        if (received < size)
          throw new PullError(
            "REGISTRY_UNREACHABLE",
            `${path} ended after ${received} of ${size} bytes`,
            { retryable: true },
          );
        return;
      } catch (error) {
        // A connection that brought something was not in vain: only failures in a row count.
        failures = received > before ? 1 : failures + 1;
        await this.#pauseOrThrow({ error, failures, signal, what: path });
      }
    }
  }

  async *#bodyFrom(want: {
    readonly path: string;
    readonly offset: number;
    readonly signal: AbortSignal;
    readonly digest: Digest;
  }): AsyncGenerator<Buffer, void> {
    const { path, offset, signal, digest } = want;
    const headers: Record<string, string> = offset === 0 ? {} : { range: `bytes=${offset}-` };
    const answer = await this.#get({ path, headers, signal });
    requireFound(answer, digest, "LAYER_NOT_FOUND");
    let skip = skipBytes(answer, offset);
    const body: AsyncIterable<Buffer> = answer.body;
    for await (const chunk of body) {
      if (skip >= chunk.length) {
        skip -= chunk.length;
        continue;
      }
      yield skip === 0 ? chunk : chunk.subarray(skip);
      skip = 0;
    }
  }

  async #get({ path, headers, signal }: Get): Promise<Answer> {
    const credential = this.#options.credential?.();
    const silence = this.#options.silenceMaxMs ?? DEFAULT_SILENCE_MS;
    return this.#options.dispatcher.request({
      origin: this.#options.baseUrl.origin,
      path: this.#options.baseUrl.pathname.replace(/\/$/, "") + path,
      method: "GET",
      headers: {
        ...headers,
        ...(credential === undefined ? {} : { authorization: `Bearer ${credential}` }),
      },
      signal,
      headersTimeout: silence,
      bodyTimeout: silence,
    });
  }

  /** Returns when another try is due; otherwise throws what the caller should see. */
  async #pauseOrThrow(failure: {
    readonly error: unknown;
    readonly failures: number;
    readonly signal: AbortSignal;
    readonly what: string;
  }): Promise<void> {
    const { error, failures, signal, what } = failure;
    if (signal.aborted) throw aborted(what, error);
    if (error instanceof PullError && error.code !== "REGISTRY_UNREACHABLE") throw error;
    if (failures >= this.#retry.attemptsMax) {
      const { host } = this.#options.baseUrl;
      throw new PullError(
        "REGISTRY_UNREACHABLE",
        `${host} did not answer for ${what} in ${failures} attempts`,
        {
          cause: error,
          retryable: true,
          hint: "see whether the controller runs and this node reaches it",
        },
      );
    }
    try {
      await pause(this.#retry, failures, signal);
    } catch (cause) {
      throw aborted(what, cause);
    }
  }
}

function aborted(what: string, cause: unknown): PullError {
  return new PullError("PULL_ABORTED", `the pull of ${what} was given up`, { cause });
}

function requireFound(
  answer: Answer,
  what: string,
  missing: "IMAGE_NOT_FOUND" | "LAYER_NOT_FOUND",
): void {
  const { statusCode } = answer;
  if (statusCode === 200 || statusCode === 206) return;
  answer.body.on("error", () => undefined).destroy();
  if (statusCode === 404) {
    throw new PullError(missing, `the registry has no ${what}`, { hint: "push the image again" });
  }
  if (statusCode === 401 || statusCode === 403) {
    throw new PullError("REGISTRY_DENIED", `the registry answers ${statusCode} for ${what}`, {
      hint: "join this node again if its credential was withdrawn",
    });
  }
  if (statusCode === 408 || statusCode === 429 || statusCode >= 500) {
    throw new PullError("REGISTRY_UNREACHABLE", `the registry answers ${statusCode} for ${what}`, {
      retryable: true,
    });
  }
  throw new PullError("REGISTRY_ANSWER_INVALID", `the registry answers ${statusCode} for ${what}`);
}

/** Bytes at the start of the answer that were here already: a registry may ignore Range and send everything. */
function skipBytes(answer: Answer, offset: number): number {
  if (answer.statusCode === 200) return offset;
  const range = String(answer.headers["content-range"] ?? "");
  if (range.startsWith(`bytes ${offset}-`)) return 0;
  answer.body.on("error", () => undefined).destroy();
  throw new PullError(
    "REGISTRY_ANSWER_INVALID",
    `asked for bytes from ${offset}, the registry sends ${JSON.stringify(range)}`,
  );
}

async function readBounded(answer: Answer, sizeMax: number): Promise<Buffer> {
  const chunks: Buffer[] = [];
  let size = 0;
  const body: AsyncIterable<Buffer> = answer.body;
  for await (const chunk of body) {
    size += chunk.length;
    if (size > sizeMax)
      throw new PullError("IMAGE_INVALID", `a manifest is larger than ${sizeMax} bytes`);
    chunks.push(chunk);
  }
  return Buffer.concat(chunks);
}

function mediaTypeOf(answer: Answer): string {
  return (
    String(answer.headers["content-type"] ?? "")
      .split(";", 1)[0]
      ?.trim() ?? ""
  );
}

function checkManifest(manifest: {
  readonly bytes: Buffer;
  readonly reference: string;
  readonly mediaType: string;
}): Manifest {
  const { bytes, reference, mediaType } = manifest;
  if (!isDigest(reference)) return { bytes, mediaType, digest: digestOf(bytes, "sha256") };
  requireDigest(bytes, reference);
  return { bytes, mediaType, digest: reference };
}

function sizeMismatch(digest: Digest, what: string): PullError {
  return new PullError("LAYER_DIGEST_MISMATCH", `${digest}: the registry sends ${what}`, {
    retryable: true,
  });
}
