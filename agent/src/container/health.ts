import { request } from "node:http";
import { connect } from "node:net";

import type { HealthProbe } from "@strata/protocol/agent/messages";

/** Asks one application at one address; false for no, a wrong answer, or none in time. Never rejects. */
export type Probe = (address: string, probe: HealthProbe) => Promise<boolean>;

export type HealthWatch = Disposable & { readonly isReady: () => boolean };

/** Until the first success a probe comes this soon, then half as soon again each time up to its interval. */
const FIRST_WAIT_MS = 25;

/** Probes until disposed; `onChange` is called whenever `isReady` changes. Without a probe it is ready at once. */
export function watchHealth(
  target: { readonly address: string; readonly probe: HealthProbe | undefined },
  { ask, onChange }: { readonly ask: Probe; readonly onChange: () => void },
): HealthWatch {
  const { address, probe } = target;
  if (probe === undefined) return { isReady: () => true, [Symbol.dispose]: () => undefined };
  let isReady = false;
  let isDisposed = false;
  let failures = 0;
  let waitMs = FIRST_WAIT_MS;
  let timer: NodeJS.Timeout | undefined;

  const check = async (): Promise<void> => {
    const isHealthy = await ask(address, probe);
    if (isDisposed) return;
    failures = isHealthy ? 0 : failures + 1;
    const next = isHealthy || (isReady && failures < probe.failureThreshold);
    waitMs = isReady || isHealthy ? probe.intervalMs : Math.min(waitMs * 1.5, probe.intervalMs);
    timer = setTimeout(() => void check(), waitMs);
    if (next === isReady) return;
    isReady = next;
    onChange();
  };
  void check();
  return {
    isReady: () => isReady,
    [Symbol.dispose]: () => {
      isDisposed = true;
      clearTimeout(timer);
    },
  };
}

export const askApplication: Probe = (address, probe) =>
  probe.kind === "tcp" ? askTcp(address, probe) : askHttp(address, probe);

function askTcp(address: string, { port, timeoutMs }: HealthProbe): Promise<boolean> {
  const { promise, resolve } = Promise.withResolvers<boolean>();
  const socket = connect({ host: address, port, timeout: timeoutMs });
  const settle = (isHealthy: boolean): void => {
    socket.destroy();
    resolve(isHealthy);
  };
  socket.once("connect", () => settle(true));
  socket.once("timeout", () => settle(false));
  socket.once("error", () => settle(false));
  return promise;
}

function askHttp(address: string, { port, path, timeoutMs }: HealthProbe): Promise<boolean> {
  const { promise, resolve } = Promise.withResolvers<boolean>();
  // The timer bounds the whole answer's head; the body is not read.
  const signal = AbortSignal.timeout(timeoutMs);
  const outgoing = request({ host: address, port, path, agent: false, signal }, (incoming) => {
    const status = incoming.statusCode ?? 0;
    incoming.destroy();
    resolve(status >= 200 && status < 400);
  });
  outgoing.once("error", () => resolve(false));
  outgoing.end();
  return promise;
}
