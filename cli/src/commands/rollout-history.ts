import { getHistory } from "../api/rollout.ts";
import { openSession } from "../api/session.ts";
import type { Invocation } from "../command.ts";
import { print } from "../context.ts";
import { getText } from "../options.ts";
import { formatAge } from "../output/age.ts";
import { parseFormat, printValue } from "../output/format.ts";
import { formatTable } from "../output/table.ts";

const DIGEST_SHOWN = 19;

export async function run(invocation: Invocation): Promise<void> {
  const { context, args, options } = invocation;
  const [alias = ""] = args;
  const format = parseFormat(options);
  const tenant = getText(options, "tenant");
  const history = await getHistory(await openSession(invocation), { alias, tenant });
  if (format === "json" || format === "yaml") return printValue(context, history, format);
  const rows = history.map((one) => [
    String(one.generation),
    one.state,
    one.digest.slice(0, DIGEST_SHOWN),
    formatAge(one.startedAt, context.now()),
    one.cause,
    one.reason ?? "-",
  ]);
  print(context, formatTable(["GENERATION", "STATE", "IMAGE", "AGE", "CAUSE", "REASON"], rows));
}
