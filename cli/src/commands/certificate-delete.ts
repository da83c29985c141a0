import type { Invocation } from "../command.ts";
import { run as runDelete } from "./delete.ts";

export async function run(invocation: Invocation): Promise<void> {
  return runDelete({ ...invocation, args: ["certificates", ...invocation.args] });
}
