import type { Assignment } from "@strata/protocol/agent/messages";
import { type AgentSpan, SPANS_MAX } from "@strata/protocol/agent/spans";
import { getErrorCode } from "@strata/protocol/errors";

/** The steps of starts that are part of a trace, until a report takes them along. */
export type SpanLog = {
  /** Does the work and notes how long it took, where the assignment belongs to a trace. */
  readonly measure: <Result>(
    of: { readonly assignment: Assignment; readonly name: AgentSpan["name"] },
    work: () => Promise<Result>,
  ) => Promise<Result>;
  /** What was noted since the last call. A report that is lost loses its own: traces are no record. */
  readonly take: () => AgentSpan[];
};

type Noted = Omit<AgentSpan, "endedMsAgo"> & { readonly endedAtMs: number };

/** `monotonicMs` is a clock that never jumps. */
export function createSpanLog(monotonicMs: () => number): SpanLog {
  let noted: Noted[] = [];
  const note = (span: Noted): void => {
    noted.push(span);
    if (noted.length > SPANS_MAX) noted.shift();
  };
  return {
    measure: async ({ assignment, name }, work) => {
      if (assignment.traceparent === undefined) return await work();
      const { processId } = assignment;
      const beganAtMs = monotonicMs();
      const done = (error?: unknown): void => {
        const endedAtMs = monotonicMs();
        const span = { processId, name, durationMs: endedAtMs - beganAtMs, endedAtMs };
        note(error === undefined ? span : { ...span, error: getErrorCode(error) ?? "UNKNOWN" });
      };
      try {
        const result = await work();
        done();
        return result;
      } catch (error) {
        done(error);
        throw error;
      }
    },
    take: () => {
      const taken = noted;
      noted = [];
      const now = monotonicMs();
      return taken.map(({ endedAtMs, ...span }) => ({ ...span, endedMsAgo: now - endedAtMs }));
    },
  };
}
