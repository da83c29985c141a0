/** The store as a client of the OCI distribution-spec v1.1 sees it. undici, because whole images go through here:
 * connections are kept, bodies are streamed, and one push never opens more than it needs. */
import type { Readable } from "node:stream";

import { formatBytes } from "@strata/protocol/format-bytes";
import type { Digest } from "@strata/protocol/oci/digest";
import { Pool } from "undici";

import { chunksOf } from "../chunks.ts";
import { CliError } from "../errors.ts";
import type { Connection } from "../settings/connection.ts";

export type StoreAnswer = {
  readonly status: number;
  readonly headers: Readonly<Record<string, string | readonly string[] | undefined>>;
  readonly body: string;
};

export type StoreRequest = {
  readonly method: "GET" | "HEAD" | "POST" | "PATCH" | "PUT" | "DELETE";
  readonly path: string;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: Readable | Buffer;
};

export type OpenAnswer = Omit<StoreAnswer, "body"> & { readonly body: Readable };

export type StoreClient = AsyncDisposable & {
  /** One exchange. Any status is an answer.
   * @throws CliError UNREACHABLE */
  readonly send: (request: StoreRequest) => Promise<StoreAnswer>;
  /** One exchange whose answer is read as it comes; whoever asks reads it to its end or destroys it.
   * @throws CliError UNREACHABLE */
  readonly open: (request: StoreRequest) => Promise<OpenAnswer>;
  readonly origin: string;
};

/** Transfers at the same time. */
export const CONNECTIONS_MAX = 4;
const ANSWER_BYTES_MAX = 8 * 1024 * 1024;
const CONNECT_TIMEOUT_MS = 10_000;
/** Silence, not duration: a big blob may take long. */
const IDLE_TIMEOUT_MS = 60_000;

export function openStore({ url, token, tls }: Connection, signal: AbortSignal): StoreClient {
  const pool = new Pool(url.origin, {
    connections: CONNECTIONS_MAX,
    connect: { timeout: CONNECT_TIMEOUT_MS, ...tls },
    headersTimeout: IDLE_TIMEOUT_MS,
    bodyTimeout: IDLE_TIMEOUT_MS,
  });
  const authorization = token === undefined ? {} : { authorization: `Bearer ${token}` };
  const unreachable = (cause: unknown): CliError =>
    new CliError("UNREACHABLE", `the store at ${url.origin} did not answer`, {
      cause,
      retryable: !signal.aborted,
      hint: "check the address and that the controller runs: strata version",
    });
  const open = async (request: StoreRequest): Promise<OpenAnswer> => {
    const { method, path, headers = {}, body = null } = request;
    try {
      const sent = { method, path, headers: { ...authorization, ...headers }, body, signal };
      const answer = await pool.request(sent);
      return { status: answer.statusCode, headers: answer.headers, body: answer.body };
    } catch (cause) {
      throw unreachable(cause);
    }
  };
  return {
    origin: url.origin,
    open,
    send: async (request) => {
      const answer = await open(request);
      try {
        return { ...answer, body: (await readBytes(answer.body, ANSWER_BYTES_MAX)).toString() };
      } catch (cause) {
        throw cause instanceof CliError ? cause : unreachable(cause);
      }
    },
    [Symbol.asyncDispose]: () => pool.destroy(),
  };
}

/** An answer as one buffer.
 * @throws CliError REFUSED when it is longer than `bytesMax` */
export async function readBytes(body: AsyncIterable<unknown>, bytesMax: number): Promise<Buffer> {
  const chunks: Buffer[] = [];
  let bytes = 0;
  for await (const chunk of chunksOf(body)) {
    bytes += chunk.length;
    if (bytes > bytesMax) {
      throw new CliError("REFUSED", `the store's answer is over ${formatBytes(bytesMax)}B`);
    }
    chunks.push(chunk);
  }
  return Buffer.concat(chunks);
}

/** Ends an answer that nobody wants to read. */
export function discard({ body }: OpenAnswer): void {
  // What is destroyed early says so as an error.
  body.on("error", () => undefined).destroy();
}

/** The first value of a header. */
export function headerOf(answer: Pick<StoreAnswer, "headers">, name: string): string | undefined {
  const value = answer.headers[name];
  return typeof value === "string" ? value : value?.[0];
}

/** What the store refused, in its own words: distribution-spec v1.1, "Error Codes". */
export function refusal(answer: StoreAnswer, what: string): CliError {
  const said = describeErrors(answer.body) ?? `status ${answer.status}`;
  return new CliError("REFUSED", `${what}: ${said}`, {
    retryable: answer.status >= 500 || answer.status === 429,
    ...hintFor(answer.status),
  });
}

function hintFor(status: number): { readonly hint?: string } {
  if (status === 401) return { hint: "log in with a token that may push: strata login URL" };
  if (status === 403)
    return { hint: "the token may not do this; a deployer's or a push token may" };
  if (status === 507) return { hint: "the store's disk is full: delete images or give it room" };
  return {};
}

function describeErrors(body: string): string | undefined {
  try {
    const parsed: unknown = JSON.parse(body);
    if (typeof parsed !== "object" || parsed === null || !("errors" in parsed)) return undefined;
    if (!Array.isArray(parsed.errors)) return undefined;
    return parsed.errors.map(describeError).join("; ");
  } catch {
    return undefined;
  }
}

function describeError(error: unknown): string {
  if (typeof error !== "object" || error === null) return String(error);
  const code = "code" in error ? String(error.code) : "UNKNOWN";
  const message = "message" in error ? String(error.message) : "";
  return message === "" ? code : `${message} (${code})`;
}

export function blobUrl(repository: string, digest: Digest): string {
  return `/v2/${repository}/blobs/${digest}`;
}
