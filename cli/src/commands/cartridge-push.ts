import type { Invocation } from "../command.ts";
import { print } from "../context.ts";
import { getFlag } from "../options.ts";
import { pushLayout } from "../store/push-layout.ts";

export async function run({ context, args, options }: Invocation): Promise<void> {
  const [layout = "."] = args;
  const pushed = await pushLayout(layout, { context, options });
  const isQuiet = getFlag(options, "quiet");
  print(context, isQuiet ? pushed.digest : `${pushed.repository}:${pushed.tag} ${pushed.digest}`);
}
