/** Requests with a line in the audit log. */
import type { HttpBindings } from "@hono/node-server";
import type { Context } from "hono";

import { type Attempt, finishAttempt } from "../access/audit.ts";
import type { Principal } from "../access/authenticate.ts";
import { callerAddress, FORWARDED_HEADER } from "../access/caller-address.ts";
import type { Config } from "../config.ts";
import { RateLimitedError } from "../errors.ts";
import { toProblem } from "./problem.ts";
import type { Services } from "./services.ts";

export type Audited = {
  /** Serves a request; its line is written before its answer is sent. */
  readonly serve: (
    c: Context,
    successStatus: number,
    work: () => Promise<Response>,
  ) => Promise<Response>;
  /** Says who asks, and for which tenant if not for his own. */
  readonly identified: (caller: Principal | undefined, tenant: string | undefined) => void;
  /** An attempt that has no route: the end of it is the caller's to write. */
  readonly begin: (
    request: Pick<Attempt, "method" | "path" | "address">,
    status: number,
  ) => Attempt;
  readonly finish: (attempt: Attempt, status: number, code: string | null) => void;
};

export function createAudited({ auditor, store, clock, random, config }: Services): Audited {
  const finish: Audited["finish"] = (attempt, status, code) => {
    const at = new Date(clock.nowMs()).toISOString();
    finishAttempt(store.sql, attempt, { at, status, code });
    attempt.isWritten = true;
  };
  const begin: Audited["begin"] = (request, successStatus) => ({
    ...request,
    requestId: random.newId(),
    successStatus,
    caller: undefined,
    tenant: undefined,
    isWritten: false,
  });
  return {
    begin,
    finish,
    identified: (caller, tenant) => {
      const attempt = auditor.current();
      if (attempt === undefined) return;
      attempt.caller = caller;
      attempt.tenant = tenant?.slice(0, TENANT_LENGTH_MAX);
    },
    serve: async (c, successStatus, work) => {
      const { method, path } = c.req;
      const attempt = begin({ method, path, address: addressOf(c, config) }, successStatus);
      c.header("strata-request-id", attempt.requestId);
      try {
        const answer = await auditor.run(attempt, work);
        finish(attempt, answer.status, null);
        return answer;
      } catch (error) {
        // Whoever asks too often would fill the log as well.
        if (!(error instanceof RateLimitedError)) {
          const { status, body } = toProblem(error);
          finish(attempt, status, body.code);
        }
        throw error;
      }
    },
  };
}

const TENANT_LENGTH_MAX = 63;

/** Empty when nobody knows. */
export function addressOf(c: Context, { trustedProxies }: Pick<Config, "trustedProxies">): string {
  // There is none in a test without sockets.
  const bindings: Partial<HttpBindings> | undefined = c.env;
  return callerAddress(
    {
      peer: bindings?.incoming?.socket.remoteAddress,
      forwarded: c.req.header(FORWARDED_HEADER),
    },
    trustedProxies,
  );
}
