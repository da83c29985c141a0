/** One upstream registry, over HTTP. Every wait, retry, redirect and answer has a limit. */
import { setTimeout } from "node:timers/promises";

import type { Agent, Dispatcher } from "undici";

import { RegistryError } from "../errors.ts";
import { followAddress } from "./address.ts";
import { readChallenge } from "./challenge.ts";
import { faulty, isUnreachable, unreachable } from "./errors.ts";
import type { MirrorRule } from "./rules.ts";
import { createUpstreamTokens, type UpstreamTokens } from "./upstream-token.ts";

export type UpstreamRequest = {
  readonly method: "GET" | "HEAD";
  /** With its query: `/v2/library/alpine/manifests/3`. */
  readonly path: string;
  /** Of the token specification: `repository:library/alpine:pull`. */
  readonly scope: string;
  readonly headers?: Readonly<Record<string, string>>;
  readonly signal: AbortSignal;
  /** How often it is tried [3]. */
  readonly attemptsMax?: number;
};

export type UpstreamAnswer = {
  readonly status: number;
  readonly header: (name: string) => string | undefined;
  /** The bytes as they come; to be read or dropped. A broken connection throws UPSTREAM_UNREACHABLE. */
  readonly chunks: () => AsyncGenerator<Buffer>;
  /** All of a small answer. @throws RegistryError UPSTREAM_FAULTY when it is longer */
  readonly bytes: (sizeBytesMax: number) => Promise<Buffer>;
  /** Drops the body. */
  readonly drop: () => void;
};

export type UpstreamClient = {
  /** One exchange, logged in where the upstream asks for it. Gives 2xx, 404 and what else is an answer to the question;
   * @throws RegistryError UPSTREAM_UNREACHABLE, UPSTREAM_FAULTY when it refuses us */
  readonly request: (request: UpstreamRequest) => Promise<UpstreamAnswer>;
  readonly close: () => void;
};

export type UpstreamClientOptions = { readonly rule: MirrorRule; readonly clock: () => number };

const CONNECT_MS_MAX = 10_000;
/** Silence, not duration: a big blob may take long. */
const SILENCE_MS_MAX = 30_000;
const CONNECTIONS_MAX = 32;
const ATTEMPTS_MAX = 3;
const FIRST_DELAY_MS = 200;
const RETRY_AFTER_MS_MAX = 10_000;
const REDIRECTS_MAX = 5;
const TOKEN_ANSWER_BYTES_MAX = 64 * 1024;

type State = {
  readonly rule: MirrorRule;
  /** Made when it is needed first: few stores have an upstream, and the library is large. */
  readonly agent: () => Promise<Agent>;
  readonly tokens: UpstreamTokens;
};

export function createUpstreamClient({ rule, clock }: UpstreamClientOptions): UpstreamClient {
  let opened: Promise<Agent> | undefined;
  const agent = (): Promise<Agent> => (opened ??= openAgent(rule));
  const tokens = createUpstreamTokens({
    rule,
    clock,
    send: async ({ url, headers, signal }) => {
      const answer = await send({ rule, agent }, { url, method: "GET", headers, signal });
      const text = async (): Promise<string> =>
        (await answer.bytes(TOKEN_ANSWER_BYTES_MAX)).toString("utf8");
      return { status: answer.status, text };
    },
  });
  const state = { rule, agent, tokens };
  return {
    request: (request) => retry(state, request),
    close: () => void opened?.then((one) => one.destroy()).catch(() => undefined),
  };
}

async function openAgent({ ca }: MirrorRule): Promise<Agent> {
  const undici = await import("undici");
  return new undici.Agent({
    connections: CONNECTIONS_MAX,
    connect: { timeout: CONNECT_MS_MAX, ...(ca === undefined ? {} : { ca }) },
    headersTimeout: SILENCE_MS_MAX,
    bodyTimeout: SILENCE_MS_MAX,
  });
}

async function retry(state: State, request: UpstreamRequest): Promise<UpstreamAnswer> {
  const attemptsMax = request.attemptsMax ?? ATTEMPTS_MAX;
  for (let attempt = 1; ; attempt += 1) {
    const outcome = await attemptOnce(state, request);
    if (!("error" in outcome)) return outcome;
    if (attempt >= attemptsMax || request.signal.aborted) throw outcome.error;
    const growing = FIRST_DELAY_MS * 4 ** (attempt - 1);
    const delayMs = Math.min(Math.max(growing, outcome.afterMs), RETRY_AFTER_MS_MAX);
    await setTimeout(delayMs, undefined, { signal: request.signal }).catch(() => {
      throw outcome.error;
    });
  }
}

type Failed = { readonly error: RegistryError; readonly afterMs: number };

/** Only what another try may change is a failure; a refusal throws. */
async function attemptOnce(
  state: State,
  request: UpstreamRequest,
): Promise<UpstreamAnswer | Failed> {
  try {
    const answer = await exchange(state, request);
    if (answer.status < 500 && answer.status !== 429) return answer;
    answer.drop();
    const error = unreachable(state.rule.upstream, new Error(`status ${answer.status}`));
    return { error, afterMs: readRetryAfterMs(answer.header("retry-after")) };
  } catch (error) {
    if (error instanceof RegistryError && isUnreachable(error)) return { error, afterMs: 0 };
    throw error;
  }
}

function readRetryAfterMs(header: string | undefined): number {
  return /^\d{1,6}$/.test(header ?? "") ? Number(header) * 1_000 : 0;
}

/** Logs in when asked to, once. */
async function exchange(state: State, request: UpstreamRequest): Promise<UpstreamAnswer> {
  const { rule, tokens } = state;
  const { scope, signal } = request;
  const first = await follow(state, request, tokens.known(scope));
  if (first.status !== 401) return accept(rule, first);
  first.drop();
  const challenge = readChallenge(first.header("www-authenticate"));
  const authorization =
    challenge === undefined ? undefined : await tokens.answer(challenge, { scope, signal });
  if (authorization === undefined) throw refused(rule, 401);
  return accept(rule, await follow(state, request, authorization));
}

function accept(rule: MirrorRule, answer: UpstreamAnswer): UpstreamAnswer {
  if (answer.status !== 401 && answer.status !== 403) return answer;
  answer.drop();
  throw refused(rule, answer.status);
}

function refused({ upstream, credentials }: MirrorRule, status: number): RegistryError {
  const who = credentials === undefined ? "without credentials" : `as ${credentials.name}`;
  return faulty(upstream, `it refuses us ${who}: status ${status}`);
}

/** Follows redirects, as those of blobs to another host. Our credentials stay with the upstream. */
async function follow(
  state: State,
  { method, path, headers = {}, signal }: UpstreamRequest,
  authorization: string | undefined,
): Promise<UpstreamAnswer> {
  const { rule } = state;
  const upstream = new URL(rule.upstream);
  let url = new URL(path, upstream);
  for (let count = 0; count <= REDIRECTS_MAX; count += 1) {
    const own = url.origin === upstream.origin && authorization !== undefined;
    const answer = await send(state, {
      url,
      method,
      headers: { ...headers, ...(own ? { authorization } : {}) },
      signal,
    });
    const location = answer.header("location");
    if (answer.status < 300 || answer.status > 399 || location === undefined) return answer;
    answer.drop();
    url = followAddress(rule, location, url.href);
  }
  throw faulty(rule.upstream, `it redirects more than ${REDIRECTS_MAX} times`);
}

type Sent = {
  readonly url: URL;
  readonly method: "GET" | "HEAD";
  readonly headers: Readonly<Record<string, string>>;
  readonly signal: AbortSignal;
};

async function send(
  { rule, agent }: Pick<State, "rule" | "agent">,
  { url, method, headers, signal }: Sent,
): Promise<UpstreamAnswer> {
  const connections = await agent();
  let answer: Dispatcher.ResponseData;
  try {
    answer = await connections.request({
      origin: url.origin,
      path: `${url.pathname}${url.search}`,
      method,
      headers: { "user-agent": "strata", ...headers },
      signal,
    });
  } catch (cause) {
    throw unreachable(rule.upstream, cause);
  }
  return toAnswer(rule, answer);
}

function toAnswer(rule: MirrorRule, answer: Dispatcher.ResponseData): UpstreamAnswer {
  const { body } = answer;
  // A body that is dropped may still fail, which is of no interest then.
  body.on("error", () => undefined);
  async function* chunks(): AsyncGenerator<Buffer> {
    try {
      for await (const chunk of body) yield parseChunk(chunk);
    } catch (cause) {
      throw unreachable(rule.upstream, cause);
    }
  }
  return {
    status: answer.statusCode,
    header: (name) => [answer.headers[name]].flat()[0],
    chunks,
    bytes: async (sizeBytesMax) => {
      const parts: Buffer[] = [];
      let size = 0;
      for await (const chunk of chunks()) {
        size += chunk.length;
        if (size > sizeBytesMax)
          throw faulty(rule.upstream, `an answer is over ${sizeBytesMax} bytes`);
        parts.push(chunk);
      }
      return Buffer.concat(parts, size);
    },
    drop: () => void body.destroy(),
  };
}

function parseChunk(chunk: unknown): Buffer {
  // Without an encoding set, undici's bodies give Buffers.
  return chunk as Buffer;
}
