/** The audit log is kept for so many days, and is never larger than its limit. */
import { limits } from "../config.ts";
import { trimAudit } from "../store/audit.ts";
import type { Sql } from "../store/database.ts";

const DAY_MS = 24 * 3_600_000;

/** One tick: a bounded part of what is too old. True when there is more to do at once. */
export function createTrimAudit(options: {
  readonly sql: Sql;
  readonly days: number;
  readonly nowMs: () => number;
}): () => boolean {
  const { auditEntriesMax: entriesMax, auditTrimMax: limit } = limits;
  return () => {
    const before = new Date(options.nowMs() - options.days * DAY_MS).toISOString();
    return trimAudit(options.sql, { before, entriesMax, limit }) === limit;
  };
}
