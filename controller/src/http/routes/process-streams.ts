import { CopyPath } from "@strata/protocol/agent/messages";
import { Top } from "@strata/protocol/agent/top";
import { CopyResult, ExecInput, ExecResult } from "@strata/protocol/api/resources";
import { z } from "zod";

import type { Principal } from "../../access/authenticate.ts";
import { getProcessView } from "../../store/processes.ts";
import { openArchive, sendArchive } from "../../streams/copy.ts";
import { runExec } from "../../streams/exec.ts";
import { answeredWithin, brokenOff, collectOutput } from "../../streams/frames.ts";
import { type LogSource, openLog } from "../../streams/logs.ts";
import type { StreamWish } from "../../streams/rendezvous.ts";
import { answerBytes, answerJson } from "../answer.ts";
import { requireProcess } from "../read.ts";
import type { Router } from "../route.ts";
import type { Services } from "../services.ts";
import { requireNodeOf } from "./processes.ts";

const Params = z.object({ id: z.string().max(100) });

const LogsQuery = z
  .strictObject({
    follow: z.enum(["true", "false"]).default("false"),
    tail: z.coerce.number().int().min(0).max(1_000_000).optional(),
    from: z.coerce.number().int().min(0).max(Number.MAX_SAFE_INTEGER).optional(),
  })
  .refine(({ tail, from }) => tail === undefined || from === undefined, {
    path: ["from"],
    message: "say either tail or from",
  });

const CopyInQuery = z.strictObject({
  path: CopyPath,
  /** What all names of the archive begin with; `path` may then be its new name. */
  top: z
    .string()
    .min(1)
    .max(255)
    .regex(/^[^/\0]+$/)
    .refine((name) => name !== "..")
    .optional(),
});

const TOP_BYTES_MAX = 8 * 1024 * 1024;
const TOP_MS_MAX = 30_000;

/** What a node does for a person at a process, over a connection that it opens. */
export function addProcessStreamRoutes(router: Router, services: Services): void {
  addLogsRoute(router, services);
  addExecRoute(router, services);
  addFileRoutes(router, services);
  addTopRoute(router, services);
}

function addLogsRoute(router: Router, services: Services): void {
  router.add({
    method: "get",
    path: "/v1/processes/{id}/logs",
    access: "viewer",
    streams: true,
    summary:
      "What the process wrote, as text. ?follow=true goes on as it comes. The header strata-log-offset says at which byte of the log the text begins; ?from= goes on at one.",
    params: Params,
    query: LogsQuery,
    answers: { 200: { description: "The log.", contentType: "text/plain" } },
    handle: async ({ params: { id }, query, caller, c }) => {
      const log = await openLog(logSource(services, { id, query, caller }), c.req.raw.signal);
      // Never as HTML, whatever a hostile process writes.
      return answerBytes(c, log, {
        "content-type": "text/plain; charset=utf-8",
        "x-content-type-options": "nosniff",
        ...(log.offset === undefined ? {} : { "strata-log-offset": String(log.offset) }),
      });
    },
  });
}

type LogCall = {
  readonly id: string;
  readonly query: z.output<typeof LogsQuery>;
  readonly caller: Principal;
};

function logSource(services: Services, { id, query, caller }: LogCall): LogSource {
  const { tail, follow } = query;
  return {
    open: async (again, signal) => {
      const nodeId = requireNodeOf(services, requireProcess(services, id, caller));
      const from = again ?? query.from;
      const wish: StreamWish = {
        kind: "logs",
        processId: id,
        follow: follow === "true",
        positions: true,
        ...(tail === undefined ? {} : { tail }),
        ...(from === undefined ? {} : { from }),
      };
      return await services.rendezvous.open(nodeId, wish, signal);
    },
    isThere: () => getProcessView(services.store.sql, id) !== undefined,
  };
}

function addExecRoute(router: Router, services: Services): void {
  router.add({
    method: "post",
    path: "/v1/processes/{id}/exec",
    access: "deployer",
    summary:
      "Runs a command in the process's container. With Upgrade: strata-stream it is interactive.",
    params: Params,
    body: ExecInput,
    answers: { 200: { description: "How it ended.", schema: ExecResult } },
    handle: async ({ params: { id: processId }, body, caller, c }) => {
      const nodeId = requireNodeOf(services, requireProcess(services, processId, caller));
      const { command, env, stdin, timeout } = body;
      const wish = { kind: "exec", processId, command, env, tty: false } as const;
      const socket = await services.rendezvous.open(nodeId, wish, c.req.raw.signal);
      return answerJson(c, await runExec(socket, { stdin, timeoutMs: timeout }));
    },
  });
}

function addFileRoutes(router: Router, services: Services): void {
  const path = "/v1/processes/{id}/files";
  router.add({
    method: "get",
    path,
    access: "deployer",
    audit: "always",
    streams: true,
    summary:
      "A file or folder of the container as a tar archive. A path that ends in /. gives what is in the folder.",
    params: Params,
    query: z.strictObject({ path: CopyPath }),
    answers: { 200: { description: "The archive.", contentType: "application/x-tar" } },
    handle: async ({ params: { id: processId }, query, caller, c }) => {
      const nodeId = requireNodeOf(services, requireProcess(services, processId, caller));
      const wish: StreamWish = { kind: "copyOut", processId, path: query.path };
      const socket = await services.rendezvous.open(nodeId, wish, c.req.raw.signal);
      return answerBytes(c, await openArchive(socket), {
        "content-type": "application/x-tar",
        "x-content-type-options": "nosniff",
      });
    },
  });
  router.add({
    method: "put",
    path,
    access: "deployer",
    summary:
      "Unpacks a tar archive into a folder of the container. With ?top=NAME, which all its names begin with, path may be the new name of that.",
    params: Params,
    query: CopyInQuery,
    rawBody: "application/x-tar",
    answers: { 200: { description: "What was unpacked.", schema: CopyResult } },
    handle: async ({ params: { id: processId }, query, caller, c }) => {
      const nodeId = requireNodeOf(services, requireProcess(services, processId, caller));
      const top = query.top === undefined ? {} : { top: query.top };
      const wish: StreamWish = { kind: "copyIn", processId, path: query.path, ...top };
      const socket = await services.rendezvous.open(nodeId, wish, c.req.raw.signal);
      return answerJson(c, await sendArchive(socket, c.req.raw.body));
    },
  });
}

function addTopRoute(router: Router, services: Services): void {
  router.add({
    method: "get",
    path: "/v1/processes/{id}/top",
    access: "viewer",
    summary: "What runs in the process's container now, with what each uses.",
    params: Params,
    answers: { 200: { description: "By pid.", schema: Top } },
    handle: async ({ params: { id: processId }, caller, c }) => {
      const nodeId = requireNodeOf(services, requireProcess(services, processId, caller));
      const wish: StreamWish = { kind: "top", processId };
      const socket = await services.rendezvous.open(nodeId, wish, c.req.raw.signal);
      const said = collectOutput(socket, TOP_BYTES_MAX);
      return answerJson(c, parseTop(await answeredWithin(TOP_MS_MAX, socket, said)));
    },
  });
}

/** @throws ControllerError STREAM_FAILED */
function parseTop(text: string): Top {
  try {
    return Top.parse(JSON.parse(text));
  } catch (error) {
    throw brokenOff(error);
  }
}
