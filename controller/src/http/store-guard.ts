/** What the controller adds to requests of the store: a line in the audit log for what changes a repository, and an end
 * to guessing. Blobs change nothing that anybody sees before a manifest names them, so they have no line. */
import type { MiddlewareHandler } from "hono";

import { RateLimitedError } from "../errors.ts";
import { addressOf, type Audited } from "./audited.ts";
import { toProblem } from "./problem.ts";
import type { Services } from "./services.ts";

export function createStoreGuard(
  { gate, auditor, config }: Services,
  audited: Audited,
): MiddlewareHandler {
  return async (c, next) => {
    const { method, path } = c.req;
    const isAudited = method === "DELETE" || (method === "PUT" && path.includes("/manifests/"));
    const address = addressOf(c, config);
    const attempt = audited.begin({ method, path, address }, 0);
    if (isAudited) await auditor.run(attempt, next);
    else await next();
    const { status } = c.res;
    // The first 401 of every client is how it learns where to log in.
    const isWrong = status === 401 && c.req.header("authorization") !== undefined;
    if (isWrong) {
      try {
        gate.refuse(address);
      } catch (error) {
        if (!(error instanceof RateLimitedError)) throw error;
        const problem = toProblem(error);
        c.res = undefined;
        c.res = c.body(tooManyRequests(error), problem.status, {
          ...problem.headers,
          "content-type": "application/json",
        });
        return;
      }
    }
    if (isAudited && (isWrong || status !== 401)) audited.finish(attempt, status, null);
  };
}

/** As the distribution specification writes errors. */
function tooManyRequests({ message, hint }: RateLimitedError): string {
  return JSON.stringify({ errors: [{ code: "TOOMANYREQUESTS", message, detail: { hint } }] });
}
