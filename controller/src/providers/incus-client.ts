/** A client for the REST API that Incus and LXD share: requests, their errors, and operations that go on after the
 * answer. It knows nothing of VMs. */
import { setTimeout as sleep } from "node:timers/promises";

import { z } from "zod";

import { ProviderError, type ProviderErrorCode } from "./errors.ts";
import type { IncusConnection, IncusRequest } from "./incus-connection.ts";

export type IncusClient = {
  /** The answer's metadata; undefined when the thing is not there (404).
   * @throws ProviderError */
  readonly get: (path: string, signal: AbortSignal) => Promise<unknown>;
  /** Sends a change and waits until it is carried out. Changes of one instance exclude each other at the server, so
   * it tries again while the server says that the instance is busy. Resolves to the metadata, if any.
   * @throws ProviderError */
  readonly change: (request: IncusRequest, signal: AbortSignal) => Promise<unknown>;
};

/** The API's own refusal; `status` is its code, alike for answers and for operations. */
export class IncusError extends ProviderError {
  readonly status: number;

  constructor(code: ProviderErrorCode, message: string, status: number) {
    super(code, message);
    this.status = status;
  }
}

/** One long poll of an operation; the whole wait has the caller's limit. */
const OPERATION_WAIT_S = 30;
const BUSY_RETRY_MS = 250;

export function createIncusClient(connection: IncusConnection, project: string): IncusClient {
  async function send(request: IncusRequest, signal: AbortSignal): Promise<SentAnswer> {
    const separator = request.path.includes("?") ? "&" : "?";
    const path = `/1.0${request.path}${separator}project=${encodeURIComponent(project)}`;
    const answer = parseAnswer(await connection({ ...request, path }, signal));
    if (answer.type === "error") throw toIncusError(answer.error, answer.error_code);
    return answer;
  }

  async function get(path: string, signal: AbortSignal): Promise<unknown> {
    try {
      return (await send({ method: "GET", path }, signal)).metadata;
    } catch (error) {
      if (error instanceof IncusError && error.status === 404) return undefined;
      throw error;
    }
  }

  async function changeOnce(request: IncusRequest, signal: AbortSignal): Promise<unknown> {
    const answer = await send(request, signal);
    if (answer.type === "sync") return answer.metadata;
    const { id } = parseOperation(answer.metadata);
    // Bounded by the signal: every caller has a deadline.
    for (;;) {
      const path = `/operations/${id}/wait?timeout=${OPERATION_WAIT_S}`;
      const operation = parseOperation((await send({ method: "GET", path }, signal)).metadata);
      if (operation.status_code >= 400) throw toIncusError(operation.err, operation.status_code);
      if (operation.status_code >= 200) return operation.metadata;
    }
  }

  return {
    get,
    change: async (request, signal) => {
      for (;;) {
        try {
          return await changeOnce(request, signal);
        } catch (error) {
          if (!(error instanceof IncusError) || !/\bbusy\b/i.test(error.message)) throw error;
          await sleep(BUSY_RETRY_MS, undefined, { signal });
        }
      }
    },
  };
}

const Answer = z.discriminatedUnion("type", [
  z.object({ type: z.literal("sync"), metadata: z.unknown().optional() }),
  z.object({ type: z.literal("async"), metadata: z.unknown().optional() }),
  z.object({ type: z.literal("error"), error: z.string(), error_code: z.int() }),
]);
type Answer = z.infer<typeof Answer>;
type SentAnswer = Exclude<Answer, { readonly type: "error" }>;

const Operation = z.object({
  id: z.string().regex(/^[a-z0-9-]+$/),
  status_code: z.int(),
  err: z.string(),
  metadata: z.unknown().optional(),
});

function parseAnswer(body: string): Answer {
  try {
    return Answer.parse(JSON.parse(body));
  } catch (cause) {
    throw notTheApi(cause);
  }
}

function parseOperation(metadata: unknown): z.infer<typeof Operation> {
  const parsed = Operation.safeParse(metadata);
  if (!parsed.success) throw notTheApi(parsed.error);
  return parsed.data;
}

function notTheApi(cause: unknown): ProviderError {
  return new ProviderError("PROVIDER_FAILED", "the answer is not one of the Incus API", {
    cause,
    hint: "see that the endpoint is an Incus or LXD server",
  });
}

/** An operation that fails has status 400 whatever the reason, so its text decides; the patterns are of Incus 6 and
 * LXD 5. */
const codeOfText: readonly (readonly [RegExp, ProviderErrorCode])[] = [
  [/maximum (number|aggregate)|exceeds? .*(limit|quota)/i, "PROVIDER_QUOTA"],
  [/no space left|out of memory|cannot allocate/i, "PROVIDER_CAPACITY"],
  [
    /not found|unknown configuration|invalid|already exists|not supported|doesn't match/i,
    "PROVIDER_INVALID",
  ],
];

function toIncusError(message: string, status: number): IncusError {
  if (status === 401 || status === 403) return new IncusError("PROVIDER_AUTH", message, status);
  if (status === 503) return new IncusError("PROVIDER_UNREACHABLE", message, status);
  const known = codeOfText.find(([pattern]) => pattern.test(message));
  return new IncusError(known?.[1] ?? "PROVIDER_FAILED", message, status);
}
