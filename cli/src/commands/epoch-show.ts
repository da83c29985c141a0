import { EpochResource } from "@strata/protocol/api/backups";

import { openSession } from "../api/session.ts";
import type { Invocation } from "../command.ts";
import { type Context, print } from "../context.ts";

export async function run(invocation: Invocation): Promise<void> {
  const session = await openSession(invocation);
  const { body } = await session.send({ method: "GET", path: "/v1/epoch" });
  showEpoch(invocation.context, EpochResource.parse(JSON.parse(body)));
}

/** Everything that an operator should know before the state is confirmed. */
export function showEpoch(context: Context, epoch: EpochResource): void {
  print(context, `state     ${epoch.state}${epoch.since === null ? "" : ` since ${epoch.since}`}`);
  if (epoch.backupAt !== null) print(context, `backup    ${epoch.backupAt}`);
  const lists: readonly (readonly [string, readonly string[]])[] = [
    ["nodes that go by another epoch", epoch.nodesBehind],
    [
      "processes that the backup does not know",
      epoch.unknownProcesses.map((one) => `${one.processId}  ${one.state} on ${one.nodeId}`),
    ],
    [
      "nodes that the backup does not know: join them again",
      epoch.unknownNodes.map((one) => `${one.nodeId}  last seen ${one.lastSeenAt}`),
    ],
    [
      "VMs that the backup does not know",
      epoch.unknownVms.map((one) => `${one.id}  ${one.vmId} of ${one.provider}`),
    ],
  ];
  for (const [title, lines] of lists) {
    if (lines.length === 0) continue;
    print(context, `${title}:`);
    for (const line of lines) print(context, `  ${line}`);
  }
  if (epoch.state === "restored")
    print(
      context,
      "nothing is started or stopped yet; strata epoch confirm stops what is not known",
    );
}
