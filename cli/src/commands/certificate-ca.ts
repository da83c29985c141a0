import { openSession } from "../api/session.ts";
import type { Invocation } from "../command.ts";
import { print } from "../context.ts";

export async function run(invocation: Invocation): Promise<void> {
  const client = await openSession(invocation);
  const { body } = await client.send({ method: "GET", path: "/v1/certificates/ca.pem" });
  print(invocation.context, body.trimEnd());
}
