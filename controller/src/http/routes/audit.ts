import { AuditEntry } from "@strata/protocol/api/audit";
import { listOf } from "@strata/protocol/api/resources";
import { z } from "zod";

import { limits } from "../../config.ts";
import { type AuditFilter, type AuditRow, listAudit } from "../../store/audit.ts";
import { answerJson } from "../answer.ts";
import { toPage } from "../read.ts";
import type { Router } from "../route.ts";
import type { Services } from "../services.ts";

const Query = z.strictObject({
  after: z.coerce.number().int().min(0).max(Number.MAX_SAFE_INTEGER).default(0),
  limit: z.coerce.number().int().min(1).max(limits.pageMax).default(100),
  principal: z.string().max(512).optional(),
  tenant: z.string().max(63).optional(),
  path: z.string().max(1024).optional(),
  since: z.iso.datetime().optional(),
  format: z.enum(["json", "ndjson"]).default("json"),
});

/** The log itself has no route that changes it: entries go when they are older than STRATA_AUDIT_DAYS. */
export function addAuditRoutes(router: Router, { store }: Services): void {
  router.add({
    method: "get",
    path: "/v1/audit",
    access: "admin",
    summary:
      "Who asked for which change, from where, and what came of it; oldest first. ?path= is what the path begins with. ?format=ndjson gives all of it, one entry a line.",
    query: Query,
    answers: { 200: { description: "One page.", schema: listOf(AuditEntry) } },
    handle: ({ query: { after, limit, format, ...filter }, c }) => {
      if (format === "ndjson" || c.req.header("accept") === NDJSON)
        return c.body(exportLines(store.sql, filter, after), 200, { "content-type": NDJSON });
      const rows = listAudit(store.sql, { filter, after, limit: limit + 1 });
      const show = (row: AuditRow): AuditEntry => row;
      return answerJson(c, toPage(rows, { limit, keyOf: ({ id }) => String(id), show }));
    },
  });
}

const NDJSON = "application/x-ndjson";

/** As long as the reader reads; each page is read when the last one is gone. */
function exportLines(
  sql: Services["store"]["sql"],
  filter: AuditFilter,
  begin: number,
): ReadableStream<Uint8Array> {
  let after = begin;
  return new ReadableStream({
    pull: (controller) => {
      const rows = listAudit(sql, { filter, after, limit: limits.pageMax });
      const last = rows.at(-1);
      if (last === undefined) return controller.close();
      after = last.id;
      const text = rows.map((row) => `${JSON.stringify(row)}\n`).join("");
      return controller.enqueue(Buffer.from(text));
    },
  });
}
