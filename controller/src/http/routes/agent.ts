/** What agents call. See protocol/agent/messages.ts for the whole exchange; streams are in http/upgrade.ts. */
import {
  type Assignment,
  Assignments,
  JoinRequest,
  JoinResponse,
  type ProcessMetrics,
  Report,
  ReportResponse,
} from "@strata/protocol/agent/messages";
import { z } from "zod";

import { bearerOf } from "../../access/bearer.ts";
import { limits } from "../../config.ts";
import { beatIntervalMs } from "../../domain/node.ts";
import { orderOf } from "../../domain/upgrade.ts";
import { ControllerError } from "../../errors.ts";
import { listAssignments } from "../../operations/assignments.ts";
import { joinNode } from "../../operations/join.ts";
import { forgetRemoved } from "../../operations/volumes.ts";
import type { Sql } from "../../store/database.ts";
import { keepReading } from "../../store/kept-tables.ts";
import { countNodes, getNode } from "../../store/nodes.ts";
import { listLeavingVolumes } from "../../store/volumes.ts";
import { answerJson } from "../answer.ts";
import { LongPollQuery, waitMsOf } from "../long-poll.ts";
import type { Router } from "../route.ts";
import type { Services } from "../services.ts";
import { takeWoken } from "./wake.ts";

const Params = z.object({ id: z.string().max(100) });

export function addAgentRoutes(router: Router, services: Services): void {
  const { store, clock, random, epoch } = services;
  router.add({
    method: "post",
    path: "/v1/nodes/join",
    // It has no credential yet; the join token is checked by the operation.
    access: "public",
    summary: "Makes a node of the machine that asks. Bearer: the secret of a join token.",
    body: JoinRequest,
    answers: { 201: { description: "The node's identity.", schema: JoinResponse } },
    handle: ({ body: request, c }) => {
      const bearer = bearerOf(c.req.header("authorization"));
      if (bearer === undefined) {
        throw new ControllerError("JOIN_TOKEN_INVALID", "no join token", {
          hint: "send Authorization: Bearer <secret of the join token>",
        });
      }
      const { node, credential } = store.write((unit) =>
        joinNode(unit, { bearer, request, newSecret: random.newSecret }),
      );
      services.presence.heard(node.id, clock.monotonicMs());
      services.reconcileSoon();
      const { id: nodeId, name, partition } = node;
      const answer: JoinResponse = {
        nodeId,
        name,
        partition,
        credential,
        epoch,
        beatIntervalMs: nextBeatMs(services),
      };
      return answerJson(c, answer, 201);
    },
  });
  router.add({
    method: "post",
    path: "/v1/nodes/{id}/reports",
    access: "node",
    summary: "Takes in what a node says about its processes.",
    params: Params,
    body: Report,
    bodyBytesMax: limits.reportBytesMax,
    answers: { 200: { description: "When to beat again.", schema: ReportResponse } },
    handle: async ({ params: { id: nodeId }, body: report, c }) => {
      services.presence.heard(nodeId, clock.monotonicMs());
      if (services.reportOrder.isNew(nodeId, report)) {
        services.epochs.noteReport(nodeId, report);
        const nowMs = clock.nowMs();
        services.samples.set(nodeId, samplesOf(report));
        services.usage.take(nodeId, report, nowMs);
        const { startDeadlineMs } = services.config;
        const input = { nodeId, report, nowMs, startDeadlineMs };
        if (await services.reports.take(input)) services.reconcileSoon();
        takeWoken(services, nodeId, report);
        services.tracing.takeSpans(nodeId, report.spans ?? []);
      }
      const { removedVolumes = [] } = report;
      if (removedVolumes.length > 0)
        store.write((unit) => forgetRemoved(unit, nodeId, removedVolumes));
      const sampleBeat = services.beats.of(nodeId) ?? Infinity;
      const answer: ReportResponse = {
        epoch,
        beatIntervalMs: Math.min(sampleBeat, nextBeatMs(services)),
        controllerBootId: services.bootId,
      };
      return answerJson(c, answer);
    },
  });
  addAssignmentRoute(router, services);
}

function addAssignmentRoute(router: Router, services: Services): void {
  const { store, clock, nodeWakeups, rendezvous, epoch, epochs } = services;
  router.add({
    method: "get",
    path: "/v1/nodes/{id}/assignments",
    access: "node",
    summary: "All that the node shall run, when it differs from the revision that it has.",
    params: Params,
    query: LongPollQuery,
    answers: {
      200: { description: "The assignments.", schema: Assignments },
      204: { description: "Nothing new in the time of the wait." },
    },
    handle: async ({ params: { id: nodeId }, query, c }) => {
      const { signal } = c.req.raw;
      const endsAt = clock.monotonicMs() + waitMsOf(query);
      for (;;) {
        // Not only newer ones: after a restore ours may be behind what the node has.
        const node = getNode(store.sql, nodeId);
        // Deleted while it waited: asked again, its agent is told so.
        if (node === undefined) return c.body(null, 204);
        const revision = node.assignmentRevision;
        const upgrade = orderOf(node.upgrade);
        if (revision !== query.revision) {
          const answer: Assignments = {
            epoch,
            ...(epochs.follows().length === 0 ? {} : { follows: [...epochs.follows()] }),
            revision,
            // Before somebody confirms a restored state, nodes go on with what they were told last.
            assignments: epochs.isConfirmed() ? listTraced(services, nodeId) : [],
            prefetch: [...services.prefetch.imagesFor(nodeId)],
            streams: rendezvous.pendingFor(nodeId),
            ...(upgrade !== undefined && epochs.isConfirmed() && { upgrade }),
            ...(epochs.isConfirmed() && removals(store.sql, nodeId)),
          };
          return answerJson(c, answer);
        }
        const timeoutMs = endsAt - clock.monotonicMs();
        if (timeoutMs <= 0 || signal.aborted) return c.body(null, 204);
        const woken = await nodeWakeups.wait(nodeId, { timeoutMs, signal });
        if (woken === "let-go") return c.body(null, 204);
      }
    },
  });
}

/** Those that a traced request caused say so. */
function listTraced({ store, tracing }: Services, nodeId: string): Assignment[] {
  return listAssignments(store.sql, nodeId).map((assignment) => {
    const traceparent = tracing.traceparentOf(assignment.processId);
    return traceparent === undefined ? assignment : { ...assignment, traceparent };
  });
}

const REMOVALS_MAX = 1000;

/** By node. */
const readLeaving = keepReading(["volumes"], (sql) =>
  Map.groupBy(listLeavingVolumes(sql), ({ nodeId }) => nodeId),
);

function removals(sql: Sql, nodeId: string): Pick<Assignments, "removeVolumes"> {
  const removeVolumes = (readLeaving(sql).get(nodeId) ?? [])
    .slice(0, REMOVALS_MAX)
    .map(({ tenant, name }) => ({ tenant, name }));
  return removeVolumes.length === 0 ? {} : { removeVolumes };
}

function samplesOf({ processes }: Report): ReadonlyMap<string, ProcessMetrics> {
  return new Map(
    processes.flatMap(({ processId, metrics }) =>
      metrics === undefined ? [] : [[processId, metrics] as const],
    ),
  );
}

/** With up to a tenth more, so that nodes that started together spread. */
function nextBeatMs({ store, config, random }: Services): number {
  const interval = beatIntervalMs(countNodes(store.sql), config.reportsPerSecond);
  return Math.round(interval * (1 + 0.1 * random.fraction()));
}
