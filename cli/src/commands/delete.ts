import { openSession } from "../api/session.ts";
import type { Invocation } from "../command.ts";
import { print } from "../context.ts";
import { requireKind } from "../resources/kinds.ts";
import { onePath } from "./get.ts";

export async function run(invocation: Invocation): Promise<void> {
  const [kindName = "", ...names] = invocation.args;
  const kind = requireKind(kindName);
  const client = await openSession(invocation);
  for (const name of names) {
    const { status } = await client.send({
      method: "DELETE",
      path: onePath(invocation, kind, name),
    });
    // 202: what stands behind it ends first.
    const how = status === 202 ? "is being deleted" : "deleted";
    print(invocation.context, `${kind.kind}/${name} ${how}`);
  }
}
