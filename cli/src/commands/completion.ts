import type { Invocation } from "../command.ts";
import { completionScripts, shells } from "../completion/scripts.ts";
import { print } from "../context.ts";
import { requireChoice } from "../options.ts";

export function run({ context, args }: Invocation): Promise<void> {
  const shell = requireChoice(args[0] ?? "", shells, "completion");
  print(context, completionScripts[shell].trimEnd());
  return Promise.resolve();
}
