import type { Invocation } from "../command.ts";

export async function run(_invocation: Invocation): Promise<void> {
  await Promise.resolve();
}
