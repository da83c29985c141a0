import { setTimeout as delay } from "node:timers/promises";

import type { ApiClient } from "../api/client.ts";
import { isNotFound, RefusedError } from "../api/refusal.ts";
import { withQuery } from "../api/session.ts";
import { type Context, say } from "../context.ts";

export type LogRequest = {
  /** Of the process's log. */
  readonly path: string;
  readonly query: Readonly<Record<string, string | undefined>>;
};

/** In a row, with pauses that grow to five seconds: a controller that is upgraded is back by then. */
const ATTEMPTS_MAX = 60;
const PAUSE_FIRST_MS = 100;
const PAUSE_MS_MAX = 5000;

/** The log of a process to its end. When the connection breaks it goes on at the byte where it broke, and says what is
 * lost if the node does not have it any more.
 * @throws RefusedError, CliError UNREACHABLE when it cannot go on */
export async function* readLog(
  client: ApiClient,
  context: Context,
  { path, query }: LogRequest,
): AsyncGenerator<Buffer> {
  let at: number | undefined;
  for (let failures = 0; ;) {
    const resumed = at === undefined ? query : { ...query, tail: undefined, from: String(at) };
    try {
      const { headers, chunks } = await client.open({
        method: "GET",
        path: withQuery(path, resumed),
        headers: { accept: "text/plain" },
      });
      const offset = offsetOf(headers["strata-log-offset"]);
      if (at !== undefined && offset !== undefined && offset > at)
        say(context, `${offset - at} bytes of the log were trimmed meanwhile`);
      at = offset;
      for await (const chunk of chunks) {
        if (at !== undefined) at += chunk.length;
        failures = 0;
        yield chunk;
      }
      return;
    } catch (error) {
      // Forgotten meanwhile: that is the end of its log.
      if (at !== undefined && isNotFound(error)) return;
      failures += 1;
      if (at === undefined || isFinal(error) || failures > ATTEMPTS_MAX || context.signal.aborted)
        throw error;
    }
    const waitMs = Math.min(PAUSE_MS_MAX, PAUSE_FIRST_MS * 2 ** failures);
    await delay(waitMs, undefined, { signal: context.signal }).catch(() => undefined);
  }
}

function offsetOf(header: string | readonly string[] | undefined): number | undefined {
  return typeof header === "string" && /^\d{1,15}$/.test(header) ? Number(header) : undefined;
}

/** A "no" that another attempt does not change. */
function isFinal(error: unknown): boolean {
  return error instanceof RefusedError && error.status < 500 && error.status !== 429;
}
