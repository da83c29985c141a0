/** What the controller is asked: once for each subscription, however many requests wait for it. */
import { setTimeout as delay } from "node:timers/promises";

import { AgentError } from "../errors.ts";

export type WakeCalls = {
  /** Asks, and again every second until `forget`: what was granted may have come to nothing. */
  readonly ask: (service: string) => void;
  /** What the controller said last; undefined before. */
  readonly answerOf: (service: string) => WakeAnswer | undefined;
  /** Nobody waits for it any more. */
  readonly forget: (service: string) => void;
};

/** `refused` is the controller's last word; it may be reached, or not be busy, the next time. */
export type WakeAnswer =
  | { readonly kind: "granted" }
  | { readonly kind: "refused" | "unreached"; readonly why: string };

export type WakeCallsOptions = {
  /** @throws AgentError CONTROLLER_UNREACHABLE, CONTROLLER_REFUSED */
  readonly call: (service: string, signal: AbortSignal) => Promise<void>;
  readonly onAnswer: (service: string) => void;
};

const AGAIN_MS = 1000;
const RETRY_MS = 250;

type Call = { readonly end: AbortController; answer: WakeAnswer | undefined };

export function createWakeCalls({ call, onAnswer }: WakeCallsOptions): WakeCalls {
  const calls = new Map<string, Call>();
  const run = async (service: string, one: Call): Promise<void> => {
    const { signal } = one.end;
    while (!signal.aborted) {
      one.answer = await call(service, signal).then(
        (): WakeAnswer => ({ kind: "granted" }),
        toAnswer,
      );
      if (signal.aborted) return;
      onAnswer(service);
      const waitMs = one.answer.kind === "unreached" ? RETRY_MS : AGAIN_MS;
      await delay(waitMs, undefined, { signal }).catch(() => undefined);
    }
  };
  return {
    ask: (service) => {
      if (calls.has(service)) return;
      const one: Call = { end: new AbortController(), answer: undefined };
      calls.set(service, one);
      void run(service, one);
    },
    answerOf: (service) => calls.get(service)?.answer,
    forget: (service) => {
      calls.get(service)?.end.abort();
      calls.delete(service);
    },
  };
}

function toAnswer(error: unknown): WakeAnswer {
  const isRefused = error instanceof AgentError && !error.retryable;
  return isRefused
    ? { kind: "refused", why: error.message }
    : { kind: "unreached", why: "the controller cannot be reached" };
}
