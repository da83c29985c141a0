import { readFileSync } from "node:fs";
import { join } from "node:path";

import { Event } from "@strata/protocol/api/resources";

import type { Instance } from "../instance/instance.ts";

export type EventWatch = AsyncDisposable & {
  /** The time (`performance.now`) at which the first event came that the caller looks for. Call it before causing one. */
  readonly next: (isWanted: (event: Event) => boolean) => Promise<number>;
};

const EVENT_TIMEOUT_MS = 30_000;

/** Follows an instance's events: it costs the controller nothing while it waits, as asking again and again would. */
export async function watchEvents({ data, url }: Instance): Promise<EventWatch> {
  const token = readFileSync(join(data, "admin-token"), "utf8").trim();
  const end = new AbortController();
  const response = await fetch(`${url}/v1/events`, {
    headers: { authorization: `Bearer ${token}`, accept: "text/event-stream" },
    signal: end.signal,
  });
  if (!response.ok || response.body === null) throw new Error(`events: status ${response.status}`);
  const listeners = new Set<(event: Event, at: number) => void>();
  const reading = readEvents(response.body, (event, at) => {
    for (const listener of listeners) listener(event, at);
  });
  return {
    next: (isWanted) => {
      const { promise, resolve, reject } = Promise.withResolvers<number>();
      const timer = setTimeout(() => reject(new Error("the event never came")), EVENT_TIMEOUT_MS);
      const listener = (event: Event, at: number): void => {
        if (isWanted(event)) resolve(at);
      };
      listeners.add(listener);
      return promise.finally(() => {
        clearTimeout(timer);
        listeners.delete(listener);
      });
    },
    [Symbol.asyncDispose]: async () => {
      end.abort();
      await reading.catch(() => undefined); // It ends by the abort.
    },
  };
}

async function readEvents(
  body: ReadableStream<Uint8Array>,
  give: (event: Event, at: number) => void,
): Promise<void> {
  const decoder = new TextDecoder();
  let pending = "";
  for await (const chunk of body) {
    const at = performance.now();
    const parts = (pending + decoder.decode(chunk, { stream: true })).split("\n\n");
    pending = parts.pop() ?? "";
    for (const part of parts) {
      const line = part.split("\n").find((candidate) => candidate.startsWith("data:"));
      if (line !== undefined) give(Event.parse(JSON.parse(line.slice("data:".length))), at);
    }
  }
}
