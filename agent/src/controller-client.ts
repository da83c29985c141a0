import { createHash, X509Certificate } from "node:crypto";
import type { Duplex } from "node:stream";

import { CONTROLLER_SERVER_NAME } from "@strata/protocol/agent/join-token";
import {
  Assignments,
  type JoinRequest,
  JoinResponse,
  type Report,
  ReportResponse,
  SecretValue,
} from "@strata/protocol/agent/messages";
import { type NetworkReport, NetworkTable, type WakeRequest } from "@strata/protocol/agent/network";
import {
  type PeerAnnouncement,
  PeerAnswer,
  PeerCertificate,
  type PeerCertificateRequest,
  type PeerSearch,
} from "@strata/protocol/agent/peers";
import { getErrorCode, Problem } from "@strata/protocol/errors";
import { Agent, type Dispatcher, request, upgrade } from "undici";
import type { z } from "zod";

import type { SecretSource } from "./container/secret-keeper.ts";
import { AgentError, DecommissionedError } from "./errors.ts";

/** How to reach a controller and whom to trust. */
export type ControllerAddress = {
  readonly url: string;
  /** PEM of the only CA that may have signed the controller's certificate; undefined for plain HTTP. */
  readonly caPem: string | undefined;
};

const ANSWER_BYTES_MAX = 64 * 1024 * 1024;
const CA_BYTES_MAX = 64 * 1024;
const ANSWER_MS_MAX = 30_000;
/** The server ends a long poll at its `wait`; this much later the connection is taken for dead. */
const POLL_SLACK_MS = 15_000;

/** One set of connections for everything that goes to the controller, pulls included. */
export function createDispatcher({ caPem }: ControllerAddress): Agent {
  return new Agent({
    connect: {
      timeout: 10_000,
      keepAlive: true,
      ...(caPem !== undefined && { ca: caPem, servername: CONTROLLER_SERVER_NAME }),
    },
    connections: 16,
    headersTimeout: 60_000,
    bodyTimeout: 60_000,
  });
}

/** Only the machine itself may be talked to without TLS.
 * @throws AgentError CONTROLLER_UNTRUSTED, CONFIG_INVALID */
export function checkControllerUrl(text: string): URL {
  const url = URL.canParse(text) ? new URL(text) : undefined;
  if (url === undefined || !["http:", "https:"].includes(url.protocol)) {
    throw new AgentError("CONFIG_INVALID", `${JSON.stringify(text)} is not a controller's URL`, {
      hint: "give the likes of https://controller.example:7070",
    });
  }
  const isLoopback = /^(127(\.\d+){3}|localhost|\[::1\])$/.test(url.hostname);
  if (url.protocol === "http:" && !isLoopback) {
    throw new AgentError("CONTROLLER_UNTRUSTED", `${url.origin} would be talked to in the clear`, {
      hint: "use https; plain HTTP is for a controller on the same machine",
    });
  }
  return url;
}

/** Fetches the controller's CA over a connection that proves nothing, and trusts it only when it is the one that the
 * join token names.
 * @throws AgentError CONTROLLER_UNTRUSTED, CONTROLLER_UNREACHABLE */
export async function fetchCa(controllerUrl: string, fingerprint: string): Promise<string> {
  await using dispatcher = disposable(new Agent({ connect: { rejectUnauthorized: false } }));
  const body = await exchange({
    method: "GET",
    url: new URL("/ca.pem", controllerUrl),
    dispatcher,
  });
  const pem = body.toString("utf8");
  if (body.length > CA_BYTES_MAX || fingerprintOf(pem) !== fingerprint) {
    throw new AgentError(
      "CONTROLLER_UNTRUSTED",
      "the controller's CA is not the one in the token",
      {
        hint: "make sure that token and URL are of the same controller, and that nothing in between speaks for it",
      },
    );
  }
  return pem;
}

function fingerprintOf(pem: string): string | undefined {
  try {
    return createHash("sha256").update(new X509Certificate(pem).raw).digest("hex");
  } catch {
    return undefined;
  }
}

export async function joinController(
  address: ControllerAddress,
  { secret, body }: { readonly secret: string; readonly body: JoinRequest },
): Promise<JoinResponse> {
  await using dispatcher = disposable(createDispatcher(address));
  const answer = await exchange({
    method: "POST",
    url: new URL("/v1/nodes/join", address.url),
    dispatcher,
    credential: secret,
    body,
  });
  return parseAnswer(answer, JoinResponse);
}

/** The calls of a node that has joined. */
export type ControllerClient = {
  /** Undefined when nothing newer came within `waitMs`.
   * @throws AgentError CONTROLLER_UNREACHABLE, CONTROLLER_REFUSED */
  readonly poll: (
    revision: number,
    options: { readonly waitMs: number; readonly signal: AbortSignal },
  ) => Promise<Assignments | undefined>;
  /** @throws AgentError CONTROLLER_UNREACHABLE, CONTROLLER_REFUSED */
  readonly report: (report: Report, signal: AbortSignal) => Promise<ReportResponse>;
  /** A connection of frames for a stream that was asked for.
   * @throws AgentError CONTROLLER_UNREACHABLE */
  readonly openStream: (streamId: string) => Promise<Duplex>;
};

/** What a node says and hears of the network. */
export type NetworkClient = {
  /** Undefined when nothing newer came within `waitMs`.
   * @throws AgentError CONTROLLER_UNREACHABLE, CONTROLLER_REFUSED */
  readonly pollNetwork: (
    known: { readonly boot: string; readonly revision: number },
    options: { readonly waitMs: number; readonly signal: AbortSignal },
  ) => Promise<NetworkTable | undefined>;
  /** What an ingress has carried out and measured. */
  readonly reportNetwork: (report: NetworkReport, signal: AbortSignal) => Promise<void>;
  /** Somebody asks for a subscription that sleeps. */
  readonly wake: (request: WakeRequest, signal: AbortSignal) => Promise<void>;
};

/** And what the conversation with the controller does without. */
export type NodeClient = ControllerClient &
  NetworkClient & {
    /** The value of a secret that one of this node's assignments names.
     * @throws AgentError CONTROLLER_UNREACHABLE, CONTROLLER_REFUSED */
    readonly fetchSecret: SecretSource;
    /** What this node has of images. */
    readonly announceBlobs: (news: PeerAnnouncement, signal: AbortSignal) => Promise<void>;
    /** Where to take a blob from. */
    readonly findPeer: (search: PeerSearch, signal: AbortSignal) => Promise<PeerAnswer>;
    /** A certificate for this node's key. */
    readonly certify: (
      request: PeerCertificateRequest,
      signal: AbortSignal,
    ) => Promise<PeerCertificate>;
  };

type PollOptions = {
  readonly revision: number;
  readonly boot?: string;
  readonly waitMs: number;
  readonly signal: AbortSignal;
};

export function createControllerClient(
  { url, nodeId, credential }: Node,
  dispatcher: Dispatcher,
): NodeClient {
  const calls = createCalls({ url, nodeId, credential }, dispatcher);
  const { node, poll, post } = calls;
  return {
    poll: (revision, options) => poll("assignments", Assignments, { revision, ...options }),
    ...networkCalls(calls),
    report: async (report, signal) =>
      parseAnswer(await post("reports", report, signal), ReportResponse),
    announceBlobs: async (news, signal) => {
      await post("peers/announce", news, signal);
    },
    findPeer: async (search, signal) =>
      parseAnswer(await post("peers/find", search, signal), PeerAnswer),
    certify: async (request, signal) =>
      parseAnswer(await post("peers/certificate", request, signal), PeerCertificate),
    fetchSecret: async ({ tenant, name, version }, signal) => {
      const path = `secrets/${encodeURIComponent(name)}/${version}`;
      const answer = await exchange({
        method: "GET",
        url: new URL(`${path}?tenant=${encodeURIComponent(tenant)}`, node),
        dispatcher,
        credential,
        signal,
      });
      return Buffer.from(parseAnswer(answer, SecretValue).base64, "base64");
    },
    openStream: async (streamId) => {
      try {
        const { socket } = await upgrade(new URL(`streams/${encodeURIComponent(streamId)}`, node), {
          dispatcher,
          method: "GET",
          protocol: "strata-stream",
          headers: { authorization: `Bearer ${credential}` },
        });
        return socket;
      } catch (cause) {
        throw unreachable(cause);
      }
    },
  };
}

type Node = { readonly url: string; readonly nodeId: string; readonly credential: string };

type Calls = {
  readonly node: URL;
  readonly post: (path: string, body: unknown, signal: AbortSignal) => Promise<Buffer>;
  readonly poll: <T>(
    resource: string,
    schema: z.ZodType<T>,
    options: PollOptions,
  ) => Promise<T | undefined>;
};

function createCalls({ url, nodeId, credential }: Node, dispatcher: Dispatcher): Calls {
  const node = new URL(`/v1/nodes/${encodeURIComponent(nodeId)}/`, url);
  const post = (path: string, body: unknown, signal: AbortSignal): Promise<Buffer> =>
    exchange({
      method: "POST",
      url: new URL(path, node),
      dispatcher,
      credential,
      body,
      signal: AbortSignal.any([signal, AbortSignal.timeout(ANSWER_MS_MAX)]),
    });
  const poll = async <T>(
    resource: string,
    schema: z.ZodType<T>,
    { waitMs, signal, ...known }: PollOptions,
  ): Promise<T | undefined> => {
    const query = new URLSearchParams({ wait: `${Math.round(waitMs / 1000)}s` });
    for (const [name, value] of Object.entries(known)) query.set(name, String(value));
    const answer = await exchange({
      method: "GET",
      url: new URL(`${resource}?${query.toString()}`, node),
      dispatcher,
      credential,
      signal: AbortSignal.any([signal, AbortSignal.timeout(waitMs + POLL_SLACK_MS)]),
    });
    return answer.length === 0 ? undefined : parseAnswer(answer, schema);
  };
  return { node, post, poll };
}

function networkCalls({ poll, post }: Calls): NetworkClient {
  return {
    pollNetwork: (known, options) => poll("network", NetworkTable, { ...known, ...options }),
    reportNetwork: async (report, signal) => {
      await post("network", report, signal);
    },
    wake: async (request, signal) => {
      await post("wake", request, signal);
    },
  };
}

type Exchange = {
  readonly method: "GET" | "POST";
  readonly url: URL;
  readonly dispatcher: Dispatcher;
  readonly credential?: string;
  readonly body?: unknown;
  readonly signal?: AbortSignal;
};

async function exchange({
  method,
  url,
  dispatcher,
  credential,
  body,
  signal,
}: Exchange): Promise<Buffer> {
  const answer = await request(url, {
    method,
    dispatcher,
    headers: {
      ...(credential !== undefined && { authorization: `Bearer ${credential}` }),
      ...(body !== undefined && { "content-type": "application/json" }),
    },
    ...(body !== undefined && { body: JSON.stringify(body) }),
    ...(signal && { signal }),
  }).catch((cause: unknown) => {
    throw unreachable(cause);
  });
  const bytes = await readBody(answer.body);
  if (answer.statusCode < 300) return bytes;
  throw refusal(answer.statusCode, bytes);
}

async function readBody(body: AsyncIterable<Buffer>): Promise<Buffer> {
  const chunks: Buffer[] = [];
  let size = 0;
  try {
    for await (const chunk of body) {
      size += chunk.length;
      if (size > ANSWER_BYTES_MAX)
        throw new Error(`an answer of more than ${ANSWER_BYTES_MAX} bytes`);
      chunks.push(chunk);
    }
  } catch (cause) {
    throw unreachable(cause);
  }
  return Buffer.concat(chunks);
}

function parseAnswer<T>(bytes: Buffer, schema: z.ZodType<T>): T {
  try {
    return schema.parse(JSON.parse(bytes.toString("utf8")));
  } catch (cause) {
    throw new AgentError(
      "CONTROLLER_REFUSED",
      "the controller's answer is not what this agent understands",
      {
        cause,
        hint: "run controller and agent of neighbouring versions",
        retryable: true,
      },
    );
  }
}

function refusal(status: number, bytes: Buffer): AgentError {
  const problem = parseProblem(bytes);
  const message = `the controller answered ${status}: ${problem?.detail ?? "without a reason"}`;
  if (problem?.code === "NODE_DECOMMISSIONED")
    return new DecommissionedError(message, problem.epoch);
  const isOurs = status >= 400 && status < 500 && status !== 408 && status !== 429;
  return new AgentError(isOurs ? "CONTROLLER_REFUSED" : "CONTROLLER_UNREACHABLE", message, {
    retryable: !isOurs,
    ...(problem?.hint !== undefined && { hint: problem.hint }),
  });
}

function parseProblem(bytes: Buffer): Problem | undefined {
  try {
    return Problem.safeParse(JSON.parse(bytes.toString("utf8"))).data;
  } catch {
    return undefined;
  }
}

const certificateErrors = /CERT|SIGNATURE|ALTNAME|SELF_SIGNED|UNABLE_TO/;

function unreachable(cause: unknown): AgentError {
  const code = getErrorCode(cause) ?? "";
  if (certificateErrors.test(code)) {
    return new AgentError(
      "CONTROLLER_UNTRUSTED",
      `the controller's certificate was refused: ${code}`,
      {
        cause,
        hint: "join again with a new token if the controller was installed anew",
        retryable: true,
      },
    );
  }
  return new AgentError("CONTROLLER_UNREACHABLE", `the controller cannot be reached: ${code}`, {
    cause,
    retryable: true,
    hint: "check the address and the network; containers keep running meanwhile",
  });
}

function disposable<T extends Dispatcher>(dispatcher: T): T & AsyncDisposable {
  return Object.assign(dispatcher, { [Symbol.asyncDispose]: () => dispatcher.close() });
}
