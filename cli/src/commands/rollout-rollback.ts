import { actOnRollout } from "../api/act-on-rollout.ts";
import type { Invocation } from "../command.ts";
import { getCount } from "../options.ts";

export async function run(invocation: Invocation): Promise<void> {
  const toGeneration = getCount(invocation.options, "to");
  await actOnRollout(invocation, "rollback", toGeneration === undefined ? {} : { toGeneration });
}
