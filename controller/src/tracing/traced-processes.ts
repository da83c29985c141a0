/** Which trace a process belongs to: that of the last traced request which changed its subscription. In memory alone: a
 * trace that a restart cuts short is no loss. */

export type TracedProcesses<Context, Span> = {
  /** A request changed a subscription; undefined: something else did, and what comes of it is not the request's. */
  readonly noteChange: (subscription: string, cause: Context | undefined) => void;
  /** Whether there is anything to look for. */
  readonly hasCauses: () => boolean;
  readonly causeOf: (subscription: string) => Context | undefined;
  readonly open: (processId: string, span: Span) => void;
  readonly get: (processId: string) => Span | undefined;
  /** Ends with what is forgotten. */
  readonly close: () => void;
};

/** What a change causes later than this is hardly waited for. */
const CAUSE_MS_MAX = 10 * 60_000;
const SUBSCRIPTIONS_MAX = 1000;
const PROCESSES_MAX = 10_000;

export function createTracedProcesses<Context, Span>(options: {
  readonly nowMs: () => number;
  /** Of a process that is remembered no longer. */
  readonly onForgotten: (span: Span) => void;
}): TracedProcesses<Context, Span> {
  const { nowMs, onForgotten } = options;
  const causes = new Map<string, { readonly cause: Context; readonly atMs: number }>();
  const spans = new Map<string, { readonly span: Span; readonly atMs: number }>();
  const forget = (processId: string): void => {
    const known = spans.get(processId);
    spans.delete(processId);
    if (known !== undefined) onForgotten(known.span);
  };
  return {
    noteChange: (subscription, cause) => {
      causes.delete(subscription);
      if (cause === undefined) return;
      causes.set(subscription, { cause, atMs: nowMs() });
      const [oldest] = causes.keys();
      if (causes.size > SUBSCRIPTIONS_MAX && oldest !== undefined) causes.delete(oldest);
    },
    hasCauses: () => causes.size > 0,
    causeOf: (subscription) => {
      const known = causes.get(subscription);
      if (known === undefined) return undefined;
      if (nowMs() - known.atMs <= CAUSE_MS_MAX) return known.cause;
      causes.delete(subscription);
      return undefined;
    },
    open: (processId, span) => {
      forget(processId);
      const now = nowMs();
      // Oldest first, as a map keeps them.
      for (const [id, { atMs }] of spans) {
        if (now - atMs <= CAUSE_MS_MAX && spans.size < PROCESSES_MAX) break;
        forget(id);
      }
      spans.set(processId, { span, atMs: now });
    },
    get: (processId) => spans.get(processId)?.span,
    close: () => {
      for (const id of spans.keys()) forget(id);
      causes.clear();
    },
  };
}
