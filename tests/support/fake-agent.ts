/** An agent that speaks the protocol by its schemas and runs nothing: it says what a test wants it to say. */
import {
  type Assignment,
  Assignments,
  JoinResponse,
  type ProcessReport,
  Report,
  ReportResponse,
} from "@strata/protocol/agent/messages";

import type { Answer, TestController } from "./controller.ts";

export type FakeAgent = {
  readonly nodeId: string;
  readonly name: string;
  readonly credential: string;
  /** What the node was told last, by process id. */
  readonly told: Map<string, Assignment>;
  /** Asks for assignments; undefined when there is nothing new. */
  readonly poll: () => Promise<Assignments | undefined>;
  /** Polls, then reports every process as `state` says [running and ready, or stopped where that is wished]. */
  readonly work: (
    state?: (assignment: Assignment) => Partial<ProcessReport> | undefined,
  ) => Promise<void>;
  /** Reports just these. Left out, `sequence` grows by itself. */
  readonly report: (
    processes: readonly ProcessReport[],
    overrides?: Partial<Report>,
  ) => Promise<Answer>;
};

export type FakeAgentOptions = {
  readonly name?: string;
  readonly partition?: string;
  readonly capacity?: { cpuMillis: number; memoryBytes: number; pids: number };
  readonly joinToken?: string;
  readonly machineId?: string;
  readonly architecture?: "amd64" | "arm64";
  readonly labels?: Readonly<Record<string, string>>;
};

export const GIB = 1024 ** 3;
export const aCapacity = { cpuMillis: 4000, memoryBytes: 8 * GIB, pids: 100_000 };

type Caller = Pick<TestController, "call">;

export async function aFakeAgent(
  controller: Caller,
  options: FakeAgentOptions = {},
): Promise<FakeAgent> {
  const { name = "node-a", partition = "web", capacity = aCapacity } = options;
  const { architecture = "amd64", labels = {} } = options;
  const machineId = options.machineId ?? name;
  const joinToken = options.joinToken ?? (await aJoinToken(controller, partition));
  const joined = await controller.call("POST", "/v1/nodes/join", {
    token: joinToken.split(".")[2] ?? "",
    body: aJoinRequest({ name, capacity, machineId, architecture, labels }),
  });
  if (joined.status !== 201) throw new Error(`join: ${JSON.stringify(joined.body)}`);
  const { nodeId, credential, name: given } = JoinResponse.parse(joined.body);
  const told = new Map<string, Assignment>();
  let revision = 0;
  let sequence = 0;

  const poll = async (): Promise<Assignments | undefined> => {
    const path = `/v1/nodes/${nodeId}/assignments?revision=${revision}&wait=0s`;
    const answer = await controller.call("GET", path, { token: credential });
    if (answer.status === 204) return undefined;
    if (answer.status !== 200) throw new Error(`poll: ${JSON.stringify(answer.body)}`);
    const assignments = Assignments.parse(answer.body);
    revision = assignments.revision;
    told.clear();
    for (const assignment of assignments.assignments) told.set(assignment.processId, assignment);
    return assignments;
  };
  const report: FakeAgent["report"] = async (processes, overrides = {}) => {
    sequence += 1;
    const body = Report.parse({
      epoch: "any",
      sequence,
      bootId: "boot-1",
      revision,
      agentVersion: "test",
      capacity,
      processes,
      ...overrides,
    });
    const answer = await controller.call("POST", `/v1/nodes/${nodeId}/reports`, {
      token: credential,
      body,
    });
    if (answer.status === 200) ReportResponse.parse(answer.body);
    return answer;
  };
  return {
    nodeId,
    name: given,
    credential,
    told,
    poll,
    report,
    work: async (state = () => ({})) => {
      await poll();
      const reports = [...told.values()].flatMap((assignment) => {
        const changes = state(assignment);
        return changes === undefined ? [] : [aProcessReport(assignment, changes)];
      });
      await report(reports);
    },
  };
}

export function aProcessReport(
  assignment: Assignment,
  changes: Partial<ProcessReport> = {},
): ProcessReport {
  const runs = assignment.desired === "running";
  return {
    processId: assignment.processId,
    assignmentId: assignment.id,
    fence: assignment.fence,
    state: runs ? "running" : "stopped",
    ready: runs && assignment.frozen !== true,
    ...(runs && assignment.frozen === true && { sleep: "frozen" as const }),
    restarts: 0,
    ports: [],
    ...(runs ? { pid: 4711 } : {}),
    ...changes,
  };
}

export async function aJoinToken(controller: Caller, partition: string, uses = 1): Promise<string> {
  const answer = await controller.call("POST", "/v1/join-tokens", { body: { partition, uses } });
  if (answer.status !== 201) throw new Error(`join token: ${JSON.stringify(answer.body)}`);
  return String(answer.body.token);
}

export function aJoinRequest(changes: object = {}): object {
  return {
    protocolVersion: 1,
    name: "node-a",
    machineId: "machine-a",
    os: "linux",
    architecture: "amd64",
    kernel: "6.1",
    agentVersion: "test",
    address: "192.0.2.1",
    capacity: aCapacity,
    labels: {},
    ...changes,
  };
}

/** Partition `web`, cartridge `hello` and, where asked for, a subscription `hi` of so many processes. */
export async function prepare(controller: Caller, processes?: number): Promise<void> {
  const put = async (path: string, body: object): Promise<void> => {
    const answer = await controller.call("PUT", path, { body });
    if (answer.status > 201) throw new Error(`${path}: ${JSON.stringify(answer.body)}`);
  };
  await put("/v1/partitions/web", {});
  await put("/v1/cartridges/hello", { image: "hello:1", partition: "web" });
  if (processes !== undefined) await put("/v1/subscriptions/hi", { cartridge: "hello", processes });
}
