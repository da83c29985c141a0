import type { Invocation } from "../command.ts";
import { commands, globalOptions } from "../commands.ts";
import { complete } from "../completion/complete.ts";
import { print } from "../context.ts";
import { requireKind } from "../resources/kinds.ts";
import { listKind } from "./get.ts";

/** A shell that waits longer than this for suggestions is a nuisance. */
const ANSWER_MS_MAX = 2000;

export async function run(invocation: Invocation): Promise<void> {
  const { context, args } = invocation;
  const signal = AbortSignal.any([context.signal, AbortSignal.timeout(ANSWER_MS_MAX)]);
  const bounded: Invocation = { ...invocation, context: { ...context, signal } };
  const listNames = async (name: string): Promise<readonly string[]> => {
    const kind = requireKind(name);
    try {
      return (await listKind(bounded, kind)).map(kind.nameOf);
    } catch {
      // No controller, no names: a completion has nobody to complain to.
      return [];
    }
  };
  const found = await complete(args, { commands, globalOptions, listNames });
  if (found.length > 0) print(context, found.join("\n"));
}
