import { EpochResource } from "@strata/protocol/api/backups";

import { openSession } from "../api/session.ts";
import type { Invocation } from "../command.ts";
import { showEpoch } from "./epoch-show.ts";

export async function run(invocation: Invocation): Promise<void> {
  const session = await openSession(invocation);
  const { body } = await session.send({ method: "POST", path: "/v1/epoch/confirm" });
  showEpoch(invocation.context, EpochResource.parse(JSON.parse(body)));
}
