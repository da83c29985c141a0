import { admitNode } from "../api/admit-node.ts";
import type { Invocation } from "../command.ts";

export async function run(invocation: Invocation): Promise<void> {
  await admitNode(invocation, "uncordon");
}
