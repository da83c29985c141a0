import { openSession, pathSegment, withQuery } from "../api/session.ts";
import type { Invocation } from "../command.ts";
import { print } from "../context.ts";
import { getFlag } from "../options.ts";

export async function run(invocation: Invocation): Promise<void> {
  const { context, args, options } = invocation;
  const [name = ""] = args;
  const client = await openSession(invocation);
  const force = getFlag(options, "force") ? "true" : undefined;
  const path = withQuery(`/v1/nodes/${pathSegment(name)}`, { force });
  await client.send({ method: "DELETE", path });
  print(context, `${name} is no node any more`);
}
