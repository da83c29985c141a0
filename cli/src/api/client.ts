/** The control API over Node's own HTTP: it loads in a third of undici's time, which a command that shows one line
 * would spend on every start. Images go through `store/client.ts`. */
import { once } from "node:events";
import {
  type ClientRequest,
  type IncomingHttpHeaders,
  type IncomingMessage,
  request as requestHttp,
} from "node:http";
import { request as requestHttps, type RequestOptions } from "node:https";
import type { Duplex } from "node:stream";
import { text } from "node:stream/consumers";

import { chunksOf } from "../chunks.ts";
import { CliError } from "../errors.ts";
import type { Connection } from "../settings/connection.ts";
import { requireSuccess } from "./refusal.ts";

export type Method = "GET" | "PUT" | "POST" | "DELETE";

export type ApiRequest = {
  readonly method: Method;
  /** With its query. */
  readonly path: string;
  readonly headers?: Readonly<Record<string, string>>;
  /** What comes bit by bit is sent as it comes. */
  readonly body?: string | AsyncIterable<Buffer>;
};

export type Answer = {
  readonly status: number;
  readonly headers: IncomingHttpHeaders;
  readonly body: string;
};

export type OpenAnswer = {
  readonly headers: IncomingHttpHeaders;
  readonly chunks: AsyncGenerator<Buffer>;
};

export type ApiClient = {
  /** One exchange that was granted.
   * @throws RefusedError, CliError UNREACHABLE */
  readonly send: (request: ApiRequest) => Promise<Answer>;
  /** An answer that goes on for as long as it likes, with its head.
   * @throws RefusedError, CliError UNREACHABLE */
  readonly open: (request: ApiRequest) => Promise<OpenAnswer>;
  /** Its bytes alone.
   * @throws RefusedError, CliError UNREACHABLE */
  readonly stream: (request: ApiRequest) => AsyncGenerator<Buffer>;
  /** RFC 9110, "Upgrade": the connection becomes `strata-stream` frames.
   * @throws RefusedError, CliError UNREACHABLE */
  readonly upgrade: (path: string) => Promise<Duplex>;
};

const ANSWER_BYTES_MAX = 64 * 1024 * 1024;
/** Until the answer begins; a stream may then be silent for as long as it likes. */
const HEADERS_TIMEOUT_MS = 60_000;

export function createApiClient(connection: Connection, signal: AbortSignal): ApiClient {
  const exchange = (request: ApiRequest): Promise<Received> => open(connection, request, signal);
  const openAnswer = async (request: ApiRequest): Promise<OpenAnswer> => {
    const { message } = await exchange(request);
    const status = message.statusCode ?? 0;
    if (status >= 300) requireSuccess({ status, body: await readBounded(message) });
    return { headers: message.headers, chunks: chunksOf(message) };
  };
  return {
    send: async (request) => {
      const { message } = await exchange(request);
      const body = await readBounded(message);
      const answer = { status: message.statusCode ?? 0, headers: message.headers, body };
      requireSuccess(answer);
      return answer;
    },
    open: openAnswer,
    stream: async function* stream(request) {
      yield* (await openAnswer(request)).chunks;
    },
    upgrade: async (path) => {
      const headers = { connection: "Upgrade", upgrade: "strata-stream" };
      // An interrupt ends the attempt; of the open stream its user decides.
      const attempt = new AbortController();
      const abort = (): void => attempt.abort();
      signal.addEventListener("abort", abort);
      const { message, socket } = await open(
        connection,
        { method: "GET", path, headers },
        attempt.signal,
      ).finally(() => signal.removeEventListener("abort", abort));
      if (socket !== undefined) return socket;
      const body = await readBounded(message);
      requireSuccess({ status: message.statusCode ?? 0, body });
      throw new CliError("REFUSED", "the server answered without opening a stream", {
        hint: "a proxy in between may not let Upgrade through: talk to the controller directly",
      });
    },
  };
}

type Received = { readonly message: IncomingMessage; readonly socket?: Duplex };

function open(
  { url, token, tls }: Connection,
  { method, path, headers = {}, body }: ApiRequest,
  signal: AbortSignal,
): Promise<Received> {
  const { promise, resolve, reject } = Promise.withResolvers<Received>();
  const options: RequestOptions = {
    method,
    signal,
    headers: {
      accept: "application/json",
      ...(token === undefined ? {} : { authorization: `Bearer ${token}` }),
      ...(typeof body === "string" ? { "content-length": Buffer.byteLength(body) } : {}),
      ...headers,
    },
    ...tls,
  };
  const target = new URL(path, url);
  const request = (url.protocol === "https:" ? requestHttps : requestHttp)(target, options);
  request.setTimeout(HEADERS_TIMEOUT_MS, () => request.destroy(new Error("no answer in a minute")));
  request.on("response", (message) => {
    request.setTimeout(0);
    resolve({ message });
  });
  request.on("upgrade", (message, socket, head) => {
    socket.setTimeout(0);
    socket.unshift(head);
    resolve({ message, socket });
  });
  request.on("error", (cause) => reject(unreachable(url, cause)));
  if (body === undefined || typeof body === "string") request.end(body);
  else void sendBody(request, body).catch(reject);
  return promise;
}

/** Ends early when the server has answered: it has no use for the rest. */
async function sendBody(request: ClientRequest, body: AsyncIterable<Buffer>): Promise<void> {
  const over = new AbortController();
  for (const event of ["response", "close"]) request.once(event, () => over.abort());
  // What is slow to come is no silence of the server.
  request.setTimeout(0);
  try {
    for await (const chunk of body) {
      if (over.signal.aborted) return;
      if (!request.write(chunk))
        await once(request, "drain", { signal: over.signal }).catch(() => undefined);
    }
    request.setTimeout(HEADERS_TIMEOUT_MS);
    request.end();
  } catch (error) {
    // Half of it must not look like all.
    request.destroy();
    throw error;
  }
}

function unreachable(url: URL, cause: Error): CliError {
  return new CliError("UNREACHABLE", `the controller at ${url.origin} did not answer`, {
    cause,
    retryable: true,
    hint: hintFor(cause),
  });
}

function hintFor(cause: Error): string {
  const code = "code" in cause ? String(cause.code) : "";
  if (/CERT|SELF_SIGNED|ISSUER/.test(code)) {
    return "its certificate is not of the CA that was remembered: log in again with strata login URL";
  }
  return "check the address (STRATA_URL, strata login URL, or STRATA_PORT of a moved installation) and that the controller runs";
}

async function readBounded(message: IncomingMessage): Promise<string> {
  const length = Number(message.headers["content-length"] ?? 0);
  if (length > ANSWER_BYTES_MAX)
    throw new CliError("REFUSED", `an answer of ${length} bytes is too long`);
  return text(message);
}
