import { getResource } from "../api/resource.ts";
import { openSession } from "../api/session.ts";
import type { Invocation } from "../command.ts";
import { print } from "../context.ts";
import { CliError } from "../errors.ts";
import { VERSION } from "../version.ts";

type Document = { readonly info: { readonly version: string } };

export async function run(invocation: Invocation): Promise<void> {
  const { context } = invocation;
  print(context, `strata ${VERSION}`);
  try {
    const client = await openSession(invocation);
    const { info } = await getResource<Document>(client, "/openapi.json");
    print(context, `controller ${info.version}`);
  } catch (error) {
    // Its own version needs no controller.
    if (!(error instanceof CliError) || error.code !== "NOT_LOGGED_IN") throw error;
  }
}
