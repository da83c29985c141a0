/** A program that is many agents: they speak the real protocol and run nothing. Its parent forks it and sends
 * `Orders` as the first message; it answers `{ joined }` once, when all have joined. */
import { Agent, request as send } from "node:http";
import process from "node:process";

import {
  type Assignment,
  Assignments,
  JoinResponse,
  type ProcessReport,
  ReportResponse,
} from "@strata/protocol/agent/messages";

export type Orders = {
  readonly url: string;
  /** The secret part of a join token with enough uses. */
  readonly joinSecret: string;
  readonly agents: number;
  /** What each node has room for. */
  readonly capacity: { cpuMillis: number; memoryBytes: number; pids: number };
};

/** Joins under way at once. */
const JOINS = 32;
/** As the agent gathers its changes. */
const GATHER_MS = 100;
const POLL_WAIT = "30s";
const RETRY_MS = 500;

const connections = new Agent({ keepAlive: true, maxSockets: Infinity });

type Request = {
  readonly method: "GET" | "POST";
  readonly path: string;
  readonly token: string;
  readonly body?: unknown;
};
type Answer = { readonly status: number; readonly body: unknown };

function call(url: string, { method, path, token, body }: Request): Promise<Answer> {
  const { promise, resolve, reject } = Promise.withResolvers<Answer>();
  const headers = { authorization: `Bearer ${token}`, "content-type": "application/json" };
  const outgoing = send(new URL(path, url), { method, agent: connections, headers }, (incoming) => {
    const parts: Buffer[] = [];
    incoming.on("data", (part: Buffer) => parts.push(part));
    incoming.on("error", reject);
    incoming.on("end", () => {
      const text = Buffer.concat(parts).toString("utf8");
      const { statusCode: status = 0 } = incoming;
      resolve({ status, body: text === "" ? undefined : JSON.parse(text) });
    });
  });
  outgoing.on("error", reject);
  outgoing.end(body === undefined ? undefined : JSON.stringify(body));
  return promise;
}

async function join(orders: Orders, index: number): Promise<JoinResponse> {
  const name = `node-${index}`;
  const { status, body } = await call(orders.url, {
    method: "POST",
    path: "/v1/nodes/join",
    token: orders.joinSecret,
    body: {
      protocolVersion: 1,
      name,
      machineId: name,
      os: "linux",
      architecture: "amd64",
      kernel: "6.1.0",
      agentVersion: "simulated",
      address: "192.0.2.1",
      capacity: orders.capacity,
      labels: {},
    },
  });
  if (status !== 201) throw new Error(`join: ${status} ${JSON.stringify(body)}`);
  return JoinResponse.parse(body);
}

/** What one agent holds; a process runs from the moment that it is assigned. */
type Held = {
  revision: number;
  epoch: string;
  sequence: number;
  beatMs: number;
  readonly processes: Map<string, { readonly assignment: Assignment; readonly startedAt: string }>;
};

async function runAgent({ url, capacity }: Orders, joined: JoinResponse): Promise<never> {
  const { nodeId, credential: token, epoch, beatIntervalMs } = joined;
  const held: Held = {
    revision: 0,
    epoch,
    sequence: 0,
    beatMs: beatIntervalMs,
    processes: new Map(),
  };
  let wake = Promise.withResolvers<void>();
  const pollForEver = async (): Promise<never> => {
    for (;;) {
      const path = `/v1/nodes/${nodeId}/assignments?revision=${held.revision}&wait=${POLL_WAIT}`;
      const answer = await call(url, { method: "GET", path, token }).catch(() => undefined);
      if (answer?.status === 200) {
        take(held, Assignments.parse(answer.body));
        setTimeout(() => wake.resolve(), GATHER_MS);
      } else if (answer?.status !== 204) {
        await pause(RETRY_MS);
      }
    }
  };
  const reportForEver = async (): Promise<never> => {
    for (;;) {
      wake = Promise.withResolvers();
      const body = { ...reportOf(held), capacity };
      const path = `/v1/nodes/${nodeId}/reports`;
      const answer = await call(url, { method: "POST", path, token, body }).catch(() => undefined);
      if (answer?.status === 200) held.beatMs = ReportResponse.parse(answer.body).beatIntervalMs;
      const timer = setTimeout(wake.resolve, answer?.status === 200 ? held.beatMs : RETRY_MS);
      await wake.promise;
      clearTimeout(timer);
    }
  };
  return (await Promise.all([pollForEver(), reportForEver()]))[0];
}

function take(held: Held, { revision, epoch, assignments }: Assignments): void {
  held.revision = revision;
  held.epoch = epoch;
  const wanted = new Set(assignments.map(({ processId }) => processId));
  for (const id of held.processes.keys()) if (!wanted.has(id)) held.processes.delete(id);
  for (const assignment of assignments) {
    const startedAt =
      held.processes.get(assignment.processId)?.startedAt ?? new Date().toISOString();
    held.processes.set(assignment.processId, { assignment, startedAt });
  }
}

function reportOf(held: Held): object {
  held.sequence += 1;
  return {
    epoch: held.epoch,
    sequence: held.sequence,
    bootId: "simulated",
    revision: held.revision,
    agentVersion: "simulated",
    processes: [...held.processes.values()].map(
      ({ assignment, startedAt }, index): ProcessReport => {
        const runs = assignment.desired === "running";
        return {
          processId: assignment.processId,
          assignmentId: assignment.id,
          fence: assignment.fence,
          state: runs ? "running" : "stopped",
          ready: runs,
          restarts: 0,
          ports: [],
          ...(runs ? { pid: 1000 + index, startedAt, metrics: sample(index) } : {}),
        };
      },
    ),
  };
}

const begunAt = performance.now();

function sample(index: number): NonNullable<ProcessReport["metrics"]> {
  const sampledAtMs = Math.round(performance.now() - begunAt);
  return {
    cpuUsageUs: sampledAtMs * 10 + index,
    memoryBytes: 8 * 1024 ** 2,
    pids: 2,
    networkRxBytes: sampledAtMs,
    networkTxBytes: sampledAtMs,
    sampledAtMs,
    connections: 1,
  };
}

async function pause(ms: number): Promise<void> {
  await new Promise((resolve) => setTimeout(resolve, ms));
}

async function run(orders: Orders): Promise<void> {
  const joined: JoinResponse[] = [];
  let next = 0;
  const joinSome = async (): Promise<void> => {
    while (next < orders.agents) joined.push(await join(orders, (next += 1)));
  };
  await Promise.all(Array.from({ length: JOINS }, joinSome));
  for (const one of joined) void runAgent(orders, one);
  process.send?.({ joined: joined.length });
}

process.once("message", (orders: Orders) => void run(orders));
process.once("disconnect", () => process.exit());
