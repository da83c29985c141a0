import { existsSync } from "node:fs";
import { hostname } from "node:os";
import { join } from "node:path";

import { JoinTokenCreated, listOf, Node } from "@strata/protocol/api/resources";

import type { Call } from "./api.ts";
import { runProgram } from "./program.ts";
import { agentBinary, agentService } from "./services.ts";
import { type Context, startService } from "./start-service.ts";

/** The partition that this machine joins. */
export const LOCAL_PARTITION = "local";

const JOIN_TIMEOUT_MS = 30_000;

/** Makes this machine a node. True when something had to be done for it. */
export async function startNode(context: Context, api: Call): Promise<boolean> {
  const { instance, say } = context;
  const isJoined = existsSync(join(instance.data, "agent/identity.json"));
  if (!isJoined) await joinPartition(context, api);
  const { value: node, state } = await startService(context, agentService(instance), {
    probe: () => findReadyNode(api),
    remedy: `Run \`${agentBinary} check\`: it names what this machine lacks.`,
  });
  say(`node        ${state}, ${node} is ready in partition ${LOCAL_PARTITION}`);
  return !isJoined || state !== "running";
}

async function joinPartition({ instance }: Context, api: Call): Promise<void> {
  await api("PUT", `/v1/partition-policies/${LOCAL_PARTITION}`, { minNodes: 1, maxNodes: 1 });
  await api("PUT", `/v1/partitions/${LOCAL_PARTITION}`, {
    policy: LOCAL_PARTITION,
    roles: ["ingress"],
  });
  const answer = await api("POST", "/v1/join-tokens", { partition: LOCAL_PARTITION });
  const { token } = JoinTokenCreated.parse(answer);
  await runProgram([agentBinary, "join", "--token", "-", "--controller", instance.agentUrl], {
    what: `joining ${hostname()} to the partition ${LOCAL_PARTITION}`,
    remedy: `Run \`${agentBinary} check\`: it names what this machine lacks.`,
    environment: instance.settings,
    input: token,
    timeoutMs: JOIN_TIMEOUT_MS,
  });
}

/** Ready, and its agent has reported: a node that only joined cannot work yet. */
async function findReadyNode(api: Call): Promise<string | undefined> {
  const { items } = listOf(Node).parse(await api("GET", "/v1/nodes"));
  return items.find(
    ({ partition, state, lastSeenAt }) =>
      partition === LOCAL_PARTITION && state === "ready" && lastSeenAt !== null,
  )?.name;
}
