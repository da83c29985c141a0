/** Takes spans as a collector does: OTLP over HTTP, as JSON. */
import { text } from "node:stream/consumers";

import { aLoopbackServer } from "./loopback-server.ts";

type Attribute = { readonly key: string; readonly value: Readonly<Record<string, unknown>> };

export type Span = {
  readonly traceId: string;
  readonly spanId: string;
  readonly parentSpanId?: string;
  readonly name: string;
  readonly startTimeUnixNano: string;
  readonly endTimeUnixNano: string;
  readonly attributes: readonly Attribute[];
  readonly status: { readonly code?: number; readonly message?: string };
};

export type TraceCollector = AsyncDisposable & {
  /** For OTEL_EXPORTER_OTLP_ENDPOINT. */
  readonly url: string;
  /** All that came. */
  readonly spans: readonly Span[];
};

export async function aTraceCollector(): Promise<TraceCollector> {
  const spans: Span[] = [];
  const server = await aLoopbackServer((request, response) => {
    void text(request).then((body) => {
      if (request.url === "/v1/traces")
        for (const resource of JSON.parse(body).resourceSpans)
          for (const scope of resource.scopeSpans) spans.push(...scope.spans);
      response.writeHead(200, { "content-type": "application/json" });
      response.end("{}");
    });
  });
  return {
    url: server.url,
    spans,
    [Symbol.asyncDispose]: () => server[Symbol.asyncDispose](),
  };
}

export function attributesOf({ attributes }: Span): Readonly<Record<string, unknown>> {
  return Object.fromEntries(attributes.map(({ key, value }) => [key, Object.values(value)[0]]));
}
