/** Traces by OpenTelemetry. Loaded only where an endpoint is set. */
import { AsyncLocalStorage } from "node:async_hooks";

import {
  type Context,
  defaultTextMapGetter,
  defaultTextMapSetter,
  ROOT_CONTEXT,
  type Span,
  SpanKind,
  SpanStatusCode,
  trace,
  type Tracer,
} from "@opentelemetry/api";
import { W3CTraceContextPropagator } from "@opentelemetry/core";
import { OTLPTraceExporter } from "@opentelemetry/exporter-trace-otlp-http";
import { resourceFromAttributes } from "@opentelemetry/resources";
import {
  BatchSpanProcessor,
  ParentBasedSampler,
  TraceIdRatioBasedSampler,
  TracerProvider,
} from "@opentelemetry/sdk-trace";

import type { CommittedEvent } from "../store/unit.ts";
import { createTracedProcesses, type TracedProcesses } from "./traced-processes.ts";
import type { SubscriptionOf, TracedRequest, Tracing, TracingOptions } from "./tracing.ts";

const CLOSE_MS_MAX = 3000;
/** What agents ask every few seconds, and what looks whether the controller lives: they would fill every collector. */
const untraced = /^\/(healthz|readyz|metrics(\/\w+)?|v1\/nodes\/[^/]+\/(assignments|reports))$/;

const propagator = new W3CTraceContextPropagator();

/** The context of a process's start, which its steps on the node are children of. */
type Start = { readonly span: Span; readonly context: Context; isOver: boolean };
type Starts = TracedProcesses<Context, Start>;

export function createTracing(options: TracingOptions): Tracing {
  const provider = new TracerProvider({
    resource: resourceFromAttributes({ "service.name": "strata-controller" }),
    sampler: new ParentBasedSampler({ root: new TraceIdRatioBasedSampler(options.share) }),
    spanProcessors: [
      new BatchSpanProcessor({ exporter: new OTLPTraceExporter({ url: options.url }) }),
    ],
  });
  const tracer = provider.getTracer("strata");
  const active = new AsyncLocalStorage<Context>();
  const starts: Starts = createTracedProcesses({
    nowMs: options.nowMs,
    onForgotten: (start) => endStart(start, "forgotten before it was ready"),
  });
  return {
    request: traceRequests(tracer, active),
    committed: ({ events }, subscriptionOf) => {
      const following = { tracer, starts, subscriptionOf, cause: active.getStore() };
      for (const event of events) follow(event, following);
    },
    traceparentOf: (processId) => traceparentOf(starts.get(processId)?.context),
    takeSpans: (node, spans) => {
      const now = options.nowMs();
      for (const { processId, name, endedMsAgo, durationMs, error } of spans) {
        const start = starts.get(processId);
        if (start === undefined) continue;
        const attributes = { "strata.process": processId, "strata.node": node };
        const endedAt = now - endedMsAgo;
        const timing = { startTime: endedAt - durationMs, attributes };
        const span = tracer.startSpan(name, timing, start.context);
        if (error !== undefined) span.setStatus({ code: SpanStatusCode.ERROR, message: error });
        span.end(endedAt);
      }
    },
    close: async () => {
      starts.close();
      await Promise.race([
        provider.shutdown().catch(() => undefined),
        new Promise((resolve) => void setTimeout(resolve, CLOSE_MS_MAX).unref()),
      ]);
    },
  };
}

function traceRequests(tracer: Tracer, active: AsyncLocalStorage<Context>): Tracing["request"] {
  return async (request, handle) => {
    const parent = contextOf(request);
    if (request.traceparent === undefined && untraced.test(request.path)) {
      await handle();
      return;
    }
    const attributes = { "http.request.method": request.method, "url.path": request.path };
    const kind = SpanKind.SERVER;
    const span = tracer.startSpan(request.method, { kind, attributes }, parent);
    try {
      const { route, status } = await active.run(trace.setSpan(parent, span), handle);
      span.updateName(`${request.method} ${route}`);
      span.setAttributes({ "http.route": route, "http.response.status_code": status });
      if (status >= 500) span.setStatus({ code: SpanStatusCode.ERROR });
    } finally {
      span.end();
    }
  };
}

/** A header that is none is as if it were not there. */
function contextOf({ traceparent, tracestate }: TracedRequest): Context {
  if (traceparent === undefined) return ROOT_CONTEXT;
  const headers = { traceparent, ...(tracestate === undefined ? {} : { tracestate }) };
  return propagator.extract(ROOT_CONTEXT, headers, defaultTextMapGetter);
}

function traceparentOf(context: Context | undefined): string | undefined {
  if (context === undefined) return undefined;
  const headers: Record<string, string> = {};
  propagator.inject(context, headers, defaultTextMapSetter);
  return headers["traceparent"];
}

type Following = {
  readonly tracer: Tracer;
  readonly starts: Starts;
  readonly subscriptionOf: SubscriptionOf;
  /** Of the request that the event was written for. */
  readonly cause: Context | undefined;
};

function follow(event: CommittedEvent, following: Following): void {
  const { type, tenant = "", subject } = event;
  const { starts, cause } = following;
  if (type.startsWith("subscription.")) return starts.noteChange(`${tenant}/${subject}`, cause);
  if (type === "process.placed") return beginStart(event, following);
  const start = starts.get(subject);
  if (start === undefined) return undefined;
  if (type === "process.ready") return endStart(start, undefined);
  return type === "process.failed" ? endStart(start, "failed") : undefined;
}

function beginStart(
  { tenant = "", subject: processId }: CommittedEvent,
  { tracer, starts, subscriptionOf }: Following,
): void {
  if (!starts.hasCauses()) return;
  const subscription = subscriptionOf(processId) ?? "";
  const parent = starts.causeOf(`${tenant}/${subscription}`);
  if (parent === undefined) return;
  const attributes = {
    "strata.process": processId,
    "strata.tenant": tenant,
    "strata.subscription": subscription,
  };
  const span = tracer.startSpan("start process", { attributes }, parent);
  starts.open(processId, { span, context: trace.setSpan(parent, span), isOver: false });
}

function endStart(start: Start, problem: string | undefined): void {
  if (start.isOver) return;
  start.isOver = true;
  if (problem !== undefined) start.span.setStatus({ code: SpanStatusCode.ERROR, message: problem });
  start.span.end();
}
