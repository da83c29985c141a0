/** Who asked for a change, from where, and what came of it. The line of a change is written in the transaction that makes
 * the change, so that there is neither without the other; that of a refusal, or of something that changes nothing here
 * (a command in a container), before the answer is sent. */
import { AsyncLocalStorage } from "node:async_hooks";

import { insertAuditEntry } from "../store/audit.ts";
import type { Sql } from "../store/database.ts";
import type { Unit } from "../store/unit.ts";
import type { Principal } from "./authenticate.ts";

/** One request that would change something. */
export type Attempt = {
  readonly method: string;
  /** Without its query, which may hold what is nobody's business. */
  readonly path: string;
  readonly address: string;
  readonly requestId: string;
  /** What the caller is answered when all goes well; the lowest, where there are several. */
  readonly successStatus: number;
  /** Known once the credential was checked. */
  caller: Principal | undefined;
  /** That the request is for, where that is another than the caller's. */
  tenant: string | undefined;
  /** It has its line, or is over. */
  isWritten: boolean;
};

export type Auditor = {
  /** Does the work of an attempt: the first transaction that it commits carries its line. */
  readonly run: <Result>(attempt: Attempt, work: () => Result) => Result;
  /** Of the work that runs now. */
  readonly current: () => Attempt | undefined;
  /** To be called last in each transaction that is kept. */
  readonly beforeCommit: (unit: Pick<Unit, "sql" | "now">) => void;
};

export function createAuditor(): Auditor {
  const attempts = new AsyncLocalStorage<Attempt>();
  return {
    run: (attempt, work) => attempts.run(attempt, work),
    current: () => attempts.getStore(),
    beforeCommit: ({ sql, now }) => {
      const attempt = attempts.getStore();
      if (attempt === undefined || attempt.isWritten) return;
      writeLine(sql, attempt, { at: now, status: attempt.successStatus, code: null });
    },
  };
}

export type AttemptResult = {
  /** RFC 3339. */
  readonly at: string;
  readonly status: number;
  /** Of the problem, where there was one. */
  readonly code: string | null;
};

/** Ends an attempt. One whose change has its line already gets another only when it was refused after all. */
export function finishAttempt(sql: Sql, attempt: Attempt, result: AttemptResult): void {
  if (!attempt.isWritten || result.status >= 400) writeLine(sql, attempt, result);
}

function writeLine(sql: Sql, attempt: Attempt, { at, status, code }: AttemptResult): void {
  const { method, path, address, requestId, caller } = attempt;
  insertAuditEntry(sql, {
    at,
    principal: caller?.id ?? "anonymous",
    scope: caller?.scope ?? null,
    tenant: attempt.tenant ?? caller?.tenant ?? "",
    address,
    method,
    path: path.slice(0, PATH_LENGTH_MAX),
    status,
    code,
    requestId,
  });
  attempt.isWritten = true;
}

const PATH_LENGTH_MAX = 1024;
