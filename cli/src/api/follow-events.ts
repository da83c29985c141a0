/** Server-sent events that go on after a broken connection: WHATWG HTML, "Server-sent events". */
import { setTimeout as delay } from "node:timers/promises";

import type { Event } from "@strata/protocol/api/resources";
import { createParser } from "eventsource-parser";

import type { Context } from "../context.ts";
import { CliError } from "../errors.ts";
import type { ApiClient } from "./client.ts";
import { parseAnswer } from "./resource.ts";

/** Tries in a row without an event in between. */
const ATTEMPTS_MAX = 10;
const DELAY_MS = 1000;

export type Following = {
  readonly path: string;
  /** Id of the last event that is known. */
  readonly from: number;
  readonly context: Context;
};

/** Every event after `from`, once, until the caller stops or the server stays away. */
export async function* followEvents(
  client: ApiClient,
  following: Following,
): AsyncGenerator<Event> {
  const { path, context } = following;
  let last = following.from;
  for (let attempt = 1; ; attempt += 1) {
    try {
      for await (const event of connect(client, path, last)) {
        last = event.id;
        attempt = 0;
        yield event;
      }
    } catch (error) {
      const isWorthwhile = !(error instanceof CliError) || error.retryable;
      if (context.signal.aborted || !isWorthwhile || attempt >= ATTEMPTS_MAX) throw error;
    }
    await delay(DELAY_MS, undefined, { signal: context.signal });
  }
}

async function* connect(client: ApiClient, path: string, last: number): AsyncGenerator<Event> {
  const received: Event[] = [];
  const parser = createParser({
    onEvent: ({ data }) => received.push(parseAnswer<Event>(data)),
  });
  const headers = { accept: "text/event-stream", "last-event-id": String(last) };
  const decoder = new TextDecoder();
  for await (const chunk of client.stream({ method: "GET", path, headers })) {
    parser.feed(decoder.decode(chunk, { stream: true }));
    yield* received.splice(0);
  }
}
