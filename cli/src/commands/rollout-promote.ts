import { actOnRollout } from "../api/act-on-rollout.ts";
import type { Invocation } from "../command.ts";

export async function run(invocation: Invocation): Promise<void> {
  await actOnRollout(invocation, "rollout/promote");
}
