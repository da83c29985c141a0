import type { Invocation } from "../command.ts";
import { run as runGet } from "./get.ts";

export async function run(invocation: Invocation): Promise<void> {
  return runGet({ ...invocation, args: ["certificates"] });
}
