import type { Invocation } from "../command.ts";
import { getText } from "../options.ts";
import { findConnection } from "../settings/connection.ts";
import { type ApiClient, createApiClient } from "./client.ts";

/** A client for the controller that this command line means. */
export async function openSession({ context, options }: Invocation): Promise<ApiClient> {
  return createApiClient(
    await findConnection(context, getText(options, "context")),
    context.signal,
  );
}

/** A path with its query; what is undefined is left out. */
export function withQuery(
  path: string,
  query: Readonly<Record<string, string | undefined>>,
): string {
  const given = Object.entries(query).filter(
    (entry): entry is [string, string] => entry[1] !== undefined,
  );
  return given.length === 0 ? path : `${path}?${new URLSearchParams(given).toString()}`;
}

export function pathSegment(name: string): string {
  return encodeURIComponent(name);
}
