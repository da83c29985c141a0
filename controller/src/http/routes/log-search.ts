import { LOG_LINES_MAX, LOG_PATTERN_MAX, type LogSearch } from "@strata/protocol/agent/log-search";
import { LogSearchAnswer } from "@strata/protocol/api/logs";
import { compileLogPattern } from "@strata/protocol/log-pattern";
import { Alias } from "@strata/protocol/names";
import { z } from "zod";

import type { Principal } from "../../access/authenticate.ts";
import { ControllerError } from "../../errors.ts";
import { requireFound } from "../../operations/upsert.ts";
import { getNode } from "../../store/nodes.ts";
import { listProcessesOfSubscription, type ProcessRow } from "../../store/processes.ts";
import { getSubscription } from "../../store/subscriptions.ts";
import { type SearchedProcess, searchLogs } from "../../streams/log-search.ts";
import type { StreamWish } from "../../streams/rendezvous.ts";
import { answerJson } from "../answer.ts";
import { TenantQuery, tenantOf } from "../read.ts";
import type { Router } from "../route.ts";
import type { Services } from "../services.ts";
import { parseTime } from "../time.ts";

const LINES_USUAL = 1000;
/** Asking more at once is for a log collector. */
const PROCESSES_MAX = 1000;

const yesOrNo = z
  .enum(["true", "false"])
  .default("false")
  .transform((text) => text === "true");

const Query = z.strictObject({
  since: z.string().max(40).optional(),
  until: z.string().max(40).optional(),
  grep: z.string().min(1).max(LOG_PATTERN_MAX).optional(),
  /** `grep` is a regular expression of RE2. */
  regex: yesOrNo,
  ignoreCase: yesOrNo,
  tail: z.coerce.number().int().min(1).max(LOG_LINES_MAX).default(LINES_USUAL),
  /** One of them alone. */
  process: z.string().max(100).optional(),
  ...TenantQuery.shape,
});
type Query = z.output<typeof Query>;

export function addLogSearchRoute(router: Router, services: Services): void {
  router.add({
    method: "get",
    path: "/v1/subscriptions/{alias}/logs",
    access: "viewer",
    summary:
      "Looks for lines in the logs of all processes of a subscription: the last ones, by time. since and until are durations back from now or RFC 3339.",
    params: z.object({ alias: Alias }),
    query: Query,
    answers: { 200: { description: "Lines, and who was not heard.", schema: LogSearchAnswer } },
    handle: async ({ params: { alias }, query, caller, c }) => {
      const search = toSearch(query, services.clock.nowMs());
      const processes = findProcesses(services, { alias, query, caller });
      const { signal } = c.req.raw;
      const answer = await searchLogs({
        search,
        processes,
        open: ({ id, nodeId }) => {
          const wish: StreamWish = { kind: "logs", processId: id, follow: false, search };
          return services.rendezvous.open(requirePresent(services, nodeId), wish, signal);
        },
      });
      return answerJson(c, answer);
    },
  });
}

/** @throws ParseError for what is no regular expression */
function toSearch(query: Query, nowMs: number): LogSearch {
  const { since, until, grep, regex, ignoreCase, tail } = query;
  const pattern = grep === undefined ? undefined : { text: grep, regex, ignoreCase };
  if (pattern !== undefined) compileLogPattern(pattern);
  return {
    tail,
    ...(pattern === undefined ? {} : { pattern }),
    ...(since === undefined ? {} : { sinceMs: parseTime(since, { nowMs, name: "since" }) }),
    ...(until === undefined ? {} : { untilMs: parseTime(until, { nowMs, name: "until" }) }),
  };
}

type Asked = { readonly alias: string; readonly query: Query; readonly caller: Principal };
type Placed = SearchedProcess & { readonly nodeId: string };

/** Those that a node has or had: what was never placed wrote nothing. */
function findProcesses({ store }: Services, { alias, query, caller }: Asked): readonly Placed[] {
  const tenant = tenantOf(caller, query.tenant);
  const subscription = requireFound(getSubscription(store.sql, { tenant, alias }), {
    kind: "subscription",
    name: alias,
  });
  const rows = listProcessesOfSubscription(store.sql, subscription.id).filter(
    ({ id }) => query.process === undefined || id === query.process,
  );
  if (query.process !== undefined && rows.length === 0)
    throw new ControllerError("NOT_FOUND", `${alias} has no process ${query.process}`, {
      hint: "see GET /v1/processes",
    });
  const placed = rows.filter(isPlaced);
  if (placed.length > PROCESSES_MAX)
    throw new ControllerError("INVALID", `${alias} has ${placed.length} processes`, {
      hint: `search one of them, with process=; ${PROCESSES_MAX} at most are searched at once`,
    });
  return placed.map(({ id, nodeId }) => ({
    id,
    nodeId,
    node: getNode(store.sql, nodeId)?.name ?? null,
  }));
}

function isPlaced(row: ProcessRow): row is ProcessRow & { readonly nodeId: string } {
  return row.nodeId !== null;
}

/** @throws ControllerError NODE_AWAY */
function requirePresent({ store }: Services, nodeId: string): string {
  const node = getNode(store.sql, nodeId);
  if (node?.presence === "present") return nodeId;
  throw new ControllerError("NODE_AWAY", `node ${node?.name ?? nodeId} is silent`, {
    hint: "try again when GET /v1/nodes shows it ready",
    retryable: true,
  });
}
