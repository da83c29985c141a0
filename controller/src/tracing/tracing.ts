/** What the controller tells of a request and of what it causes, where somebody collects traces. Without an endpoint
 * nothing is loaded and nothing is done. */
import type { AgentSpan } from "@strata/protocol/agent/spans";

import type { Config } from "../config.ts";
import type { Clock } from "../domain/clock.ts";
import type { Changes } from "../store/unit.ts";

export type Handled = { readonly route: string; readonly status: number };

export type TracedRequest = {
  readonly method: string;
  readonly path: string;
  /** W3C Trace Context, of the caller. */
  readonly traceparent: string | undefined;
  readonly tracestate: string | undefined;
};

/** The alias of a process's subscription. */
export type SubscriptionOf = (processId: string) => string | undefined;

export type Tracing = {
  /** Handles a request inside a span. */
  readonly request: (request: TracedRequest, handle: () => Promise<Handled>) => Promise<void>;
  /** Remembers which request changed which subscription, and follows the processes that come of it. */
  readonly committed: (changes: Pick<Changes, "events">, subscriptionOf: SubscriptionOf) => void;
  /** For the assignment of a process that a traced request caused. */
  readonly traceparentOf: (processId: string) => string | undefined;
  /** Sends on what an agent did for such processes. */
  readonly takeSpans: (node: string, spans: readonly AgentSpan[]) => void;
  /** Sends what is left. Bounded in time. */
  readonly close: () => Promise<void>;
};

export const noTracing: Tracing = {
  request: async (_request, handle) => void (await handle()),
  committed: () => undefined,
  traceparentOf: () => undefined,
  takeSpans: () => undefined,
  close: () => Promise.resolve(),
};

export type TracingOptions = {
  /** Where spans go, by OTLP over HTTP as JSON. */
  readonly url: string;
  /** How many of the traces that begin here are kept, from 0 to 1. */
  readonly share: number;
  readonly nowMs: () => number;
};

export async function openTracing(
  { tracesUrl: url, tracesShare: share }: Pick<Config, "tracesUrl" | "tracesShare">,
  { nowMs }: Pick<Clock, "nowMs">,
): Promise<Tracing> {
  if (url === undefined) return noTracing;
  const { createTracing } = await import("./open-telemetry.ts");
  return createTracing({ url, share, nowMs });
}
