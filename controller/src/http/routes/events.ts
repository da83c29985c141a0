import { Event, listOf } from "@strata/protocol/api/resources";
import type { Context } from "hono";
import { streamSSE } from "hono/streaming";
import { z } from "zod";

import { ControllerError } from "../../errors.ts";
import { latestEventId, listEventsAfter, listLatestEvents } from "../../store/events.ts";
import type { EventFilter } from "../../store/events.ts";
import { answerJson } from "../answer.ts";
import { TenantQuery, tenantFilterOf } from "../read.ts";
import type { Router } from "../route.ts";
import type { Services } from "../services.ts";
import { showEvent } from "../views.ts";

const Query = z.strictObject({
  ...TenantQuery.shape,
  type: z.string().max(100).optional(),
  subject: z.string().max(100).optional(),
  /** Id of the last event that the caller has. */
  after: z.coerce.number().int().min(0).optional(),
  limit: z.coerce.number().int().min(1).max(1000).default(100),
});

const PAGE = 200;
const KEEP_ALIVE_MS = 15_000;
const STREAMS_MAX = 1000;

export function addEventRoutes(router: Router, services: Services): void {
  const streams = { open: 0 };
  router.add({
    method: "get",
    path: "/v1/events",
    access: "viewer",
    streams: true,
    summary:
      "Events, oldest first. With Accept: text/event-stream they are followed; Last-Event-ID resumes.",
    query: Query,
    answers: {
      200: { description: "The last events, or those after `after`.", schema: listOf(Event) },
    },
    handle: ({ query, caller, c }) => {
      const { type, subject, limit, after } = query;
      const filter = { tenant: tenantFilterOf(caller, query.tenant), type, subject };
      if ((c.req.header("accept") ?? "").includes("text/event-stream"))
        return follow(c, services, { filter, from: resumePoint(c, after, services), streams });
      const { sql } = services.store;
      const rows =
        after === undefined
          ? listLatestEvents(sql, { filter, limit })
          : listEventsAfter(sql, after, { filter, limit });
      const last = rows.at(-1);
      const next =
        after !== undefined && rows.length === limit && last !== undefined ? last.id : null;
      return answerJson(c, {
        items: rows.map(showEvent),
        next: next === null ? null : String(next),
      });
    },
  });
}

/** New events only, unless the client says which one it had last. */
function resumePoint(c: Context, after: number | undefined, { store }: Services): number {
  const header = c.req.header("last-event-id");
  if (header !== undefined && /^\d{1,15}$/.test(header)) return Number(header);
  return after ?? latestEventId(store.sql);
}

type Follow = {
  readonly filter: EventFilter;
  readonly from: number;
  readonly streams: { open: number };
};

function follow(c: Context, services: Services, { filter, from, streams }: Follow): Response {
  if (streams.open >= STREAMS_MAX) {
    throw new ControllerError("TOO_MANY", `${STREAMS_MAX} others follow events already`, {
      hint: "ask for the JSON list instead, or try again later",
    });
  }
  streams.open += 1;
  const { sql } = services.store;
  return streamSSE(c, async (stream) => {
    const gone = new AbortController();
    stream.onAbort(() => gone.abort());
    let last = from;
    try {
      // Tells the client that it is connected, before the first event.
      await stream.write(": connected\n\n");
      while (!gone.signal.aborted) {
        const rows = listEventsAfter(sql, last, { filter, limit: PAGE });
        for (const row of rows) {
          await stream.writeSSE({
            id: String(row.id),
            event: row.type,
            data: JSON.stringify(showEvent(row)),
          });
          last = row.id;
        }
        if (rows.length > 0) continue;
        const options = { timeoutMs: KEEP_ALIVE_MS, signal: gone.signal };
        if ((await services.eventWakeups.wait("events", options)) === "let-go") {
          if (services.isStopping()) return;
          await stream.write(": still here\n\n");
        }
      }
    } finally {
      streams.open -= 1;
    }
  });
}
