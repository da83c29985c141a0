/** From an error to the answer: RFC 9457, one table from code to status. */
import { CodedError, type Problem } from "@strata/protocol/errors";
import type { ContentfulStatusCode } from "hono/utils/http-status";
import type { ZodError } from "zod";

import { DecommissionedError } from "../access/former-nodes.ts";
import type { RateState } from "../domain/token-bucket.ts";
import { ControllerError, type ControllerErrorCode, RateLimitedError } from "../errors.ts";

const statusOf: Readonly<Record<ControllerErrorCode, ContentfulStatusCode>> = {
  UNAUTHENTICATED: 401,
  FORBIDDEN: 403,
  JOIN_TOKEN_INVALID: 401,
  NOT_FOUND: 404,
  METHOD_NOT_ALLOWED: 405,
  JSON_INVALID: 400,
  INVALID: 422,
  BODY_TOO_LARGE: 413,
  BODY_TIMEOUT: 408,
  REVISION_STALE: 412,
  IN_USE: 409,
  REFERENCE_UNKNOWN: 422,
  IMAGE_NOT_FOUND: 422,
  IMAGE_NOT_RUNNABLE: 422,
  IMAGE_UNSIGNED: 422,
  LIMITS_UNSATISFIABLE: 422,
  PROCESSES_OUT_OF_BOUNDS: 422,
  JOB_RUNNING: 409,
  RATIO_DECIDES: 422,
  RELATION_CYCLE: 422,
  ROLLOUT_STATE: 409,
  ROLLBACK_IMPOSSIBLE: 409,
  CERTIFICATE_INVALID: 422,
  ACME_DIRECTORY_UNKNOWN: 422,
  METRIC_UNKNOWN: 422,
  NOT_WAKEABLE: 409,
  NAME_TAKEN: 409,
  HOST_TAKEN: 409,
  PORT_TAKEN: 409,
  QUOTA_EXCEEDED: 409,
  PROCESS_NOT_RUNNING: 409,
  PATH_NOT_FOUND: 404,
  PATH_UNUSABLE: 422,
  ARCHIVE_INVALID: 422,
  NODE_AWAY: 503,
  NODE_DECOMMISSIONED: 410,
  SIMULATION_TIMEOUT: 504,
  STREAM_TIMEOUT: 504,
  STREAM_FAILED: 502,
  EXEC_TIMEOUT: 504,
  TOO_MANY: 429,
  RATE_LIMITED: 429,
  ISSUER_UNREACHABLE: 503,
  AGENT_NOT_BUILT: 404,
  PROTOCOL_UNSUPPORTED: 400,
  SECRET_KEY_LOST: 500,
  DATABASE_NEWER: 500,
  DATABASE_CORRUPT: 500,
  DATA_IN_USE: 500,
  BACKUP_RUNNING: 409,
  BACKUP_FAILED: 507,
  BACKUP_INVALID: 422,
  BACKUP_SEALED: 422,
  EPOCH_UNCONFIRMED: 409,
  SETTING_INVALID: 500,
  STOPPING: 503,
};

const titles: Readonly<Record<number, string>> = {
  400: "Bad Request",
  401: "Unauthorized",
  403: "Forbidden",
  404: "Not Found",
  405: "Method Not Allowed",
  408: "Request Timeout",
  409: "Conflict",
  410: "Gone",
  412: "Precondition Failed",
  413: "Content Too Large",
  422: "Unprocessable Content",
  429: "Too Many Requests",
  500: "Internal Server Error",
  502: "Bad Gateway",
  503: "Service Unavailable",
  504: "Gateway Timeout",
  507: "Insufficient Storage",
};

export type ProblemAnswer = {
  readonly status: ContentfulStatusCode;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: Problem;
};

/** An unknown error is answered without a word about its inside: the log has it. */
export function toProblem(error: unknown): ProblemAnswer {
  if (error instanceof ControllerError) {
    const { hint } = error;
    const problem = answer(statusOf[error.code], {
      code: error.code,
      detail: error.message,
      ...(hint === undefined ? {} : { hint }),
      ...(error instanceof FieldsError ? { errors: error.errors } : {}),
      ...(error instanceof DecommissionedError ? { epoch: error.epoch } : {}),
    });
    return error instanceof RateLimitedError ? withRate(problem, error.rate) : problem;
  }
  if (error instanceof CodedError && error.code === "INVALID") {
    const { hint } = error;
    return answer(422, {
      code: "INVALID",
      detail: error.message,
      ...(hint === undefined ? {} : { hint }),
    });
  }
  return answer(500, {
    code: "INTERNAL",
    detail: "the controller failed; its log says why",
    hint: "look for this time in the controller's log, and tell the maintainers",
  });
}

function withRate(problem: ProblemAnswer, rate: RateState): ProblemAnswer {
  const headers = { ...rateHeaders(rate), "retry-after": String(rate.resetSeconds) };
  return { ...problem, headers: { ...problem.headers, ...headers } };
}

/** RateLimit header fields for HTTP, draft-ietf-httpapi-ratelimit-headers: a quota of a minute, and what is left of it. */
export function rateHeaders({
  limit,
  remaining,
  resetSeconds,
}: RateState): Readonly<Record<string, string>> {
  return {
    "ratelimit-policy": `"minute";q=${limit};w=60`,
    ratelimit: `"minute";r=${remaining};t=${resetSeconds}`,
  };
}

/** Several fields are wrong; `errors` names each. */
export class FieldsError extends ControllerError {
  readonly errors: { path: string; message: string }[];

  constructor(what: string, error: ZodError) {
    const errors = error.issues.slice(0, 50).map(({ path, message }) => ({
      path: path.map(String).join("."),
      message,
    }));
    const [first] = errors;
    const detail = first === undefined ? "it is not valid" : `${first.path}: ${first.message}`;
    super("INVALID", `${what}: ${detail.replace(/^: /, "")}`, {
      hint: "GET /openapi.json describes every field",
    });
    this.errors = errors;
  }
}

function answer(
  status: ContentfulStatusCode,
  problem: Pick<Problem, "code" | "detail"> & Partial<Problem>,
): ProblemAnswer {
  return {
    status,
    headers: {
      "content-type": "application/problem+json",
      ...(status === 401 ? { "www-authenticate": 'Bearer realm="strata"' } : {}),
      ...(status === 429 || status === 503 ? { "retry-after": "5" } : {}),
    },
    body: {
      // RFC 9457: a relative reference would do, but the type of a problem that has only a code is "about:blank".
      type: "about:blank",
      title: titles[status] ?? "Error",
      status,
      ...problem,
    },
  };
}
