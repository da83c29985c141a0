import { setTimeout as delay } from "node:timers/promises";

import type { Client } from "./client.ts";

/** Requests of a person or a program beside the agents', at a steady small rate. */
export type Probe = AsyncDisposable & {
  /** Milliseconds, of every request that ended. */
  readonly latencies: readonly number[];
};

const EVERY_MS = 50;

/** Each in its turn; not waited for, so that a slow answer makes no later one look quick. */
export function startProbe({ call }: Client): Probe {
  const latencies: number[] = [];
  const under = new Set<Promise<void>>();
  const stopping = new AbortController();
  let turn = 0;
  const requests: readonly (() => Promise<unknown>)[] = [
    () => call("GET", "/v1/subscriptions/load-0"),
    () => call("GET", "/v1/nodes?limit=50"),
    () => call("GET", "/v1/subscriptions/load-0/processes?limit=50"),
    () => call("PUT", "/v1/partitions/probed", { description: `turn ${turn}` }),
  ];
  const ask = async (): Promise<void> => {
    const request = requests[(turn += 1) % requests.length];
    const startedAt = performance.now();
    await request?.();
    latencies.push(performance.now() - startedAt);
  };
  const run = async (): Promise<void> => {
    while (!stopping.signal.aborted) {
      const asked = ask();
      under.add(asked);
      void asked.finally(() => under.delete(asked)).catch(() => undefined);
      await delay(EVERY_MS, undefined, { signal: stopping.signal }).catch(() => undefined);
    }
  };
  const running = run();
  return {
    latencies,
    [Symbol.asyncDispose]: async () => {
      stopping.abort();
      await running;
      await Promise.all(under);
    },
  };
}
