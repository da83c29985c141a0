/** Steps of a process's start on its node, for the trace of the request that caused it. The controller sends them on:
 * nodes may have no way to whoever collects traces. */
import { z } from "zod";

/** W3C Trace Context, "traceparent". Agents look into none: another form must not cost an assignment. */
export const Traceparent = z.string().max(128);

export const SPANS_MAX = 256;

export const AgentSpan = z.object({
  processId: z.string(),
  name: z.enum(["pull image", "start container"]),
  /** From its end to the report: clocks of nodes differ. */
  endedMsAgo: z.number().nonnegative(),
  durationMs: z.number().nonnegative(),
  /** Code of the error that ended it. */
  error: z.string().optional(),
});
export type AgentSpan = z.infer<typeof AgentSpan>;

export const AgentSpans = z.array(AgentSpan).max(SPANS_MAX);
