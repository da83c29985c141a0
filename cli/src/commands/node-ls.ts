import type { Invocation } from "../command.ts";
import { parseFormat, printItems } from "../output/format.ts";
import { requireKind } from "../resources/kinds.ts";
import { listKind } from "./get.ts";

export async function run(invocation: Invocation): Promise<void> {
  const kind = requireKind("nodes");
  const items = await listKind(invocation, kind);
  await printItems(invocation.context, { kind, items, format: parseFormat(invocation.options) });
}
