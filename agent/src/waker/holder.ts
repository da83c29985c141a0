/** Holds requests until a process can answer them. */
import type { IngressRoute } from "@strata/protocol/agent/network";

import type { NetworkFollower } from "../network-table/network-follower.ts";
import { type Choice, findTargets, type Target } from "./find-target.ts";
import { createWakeCalls, type WakeCallsOptions } from "./wake-calls.ts";

export type HolderOptions = {
  readonly network: Pick<NetworkFollower, "state" | "subscribe">;
  readonly nodeId: string;
  /** Thaws a process of this node at once. False when it cannot answer. */
  readonly wakeProcess: (processId: string) => boolean;
  readonly wakeService: WakeCallsOptions["call"];
  /** Between 0 and 1. */
  readonly random: () => number;
};

export type Holder = {
  /** Resolves with a process that answers, at once where there is one. `avoided` are those that took no connection.
   * @throws HoldError QUEUE_FULL, WAKE_REFUSED; WAKE_LATE when the signal ends the wait */
  readonly hold: (
    route: IngressRoute,
    options: { readonly signal: AbortSignal; readonly avoided: ReadonlySet<string> },
  ) => Promise<Target>;
  /** Requests that wait, by service. */
  readonly queued: () => ReadonlyMap<string, number>;
};

export type HoldErrorCode = "QUEUE_FULL" | "WAKE_REFUSED" | "WAKE_LATE";

export class HoldError extends Error {
  readonly code: HoldErrorCode;

  constructor(code: HoldErrorCode, message: string) {
    super(message);
    this.code = code;
  }
}

/** Of all services together. */
const HELD_MAX = 2000;

export function createHolder(options: HolderOptions): Holder {
  const { network, nodeId, wakeProcess, wakeService, random } = options;
  const looks = new Set<() => void>();
  const queued = new Map<string, number>();
  const count = (service: string): number => queued.get(service) ?? 0;
  const lookAll = (): void => {
    for (const look of looks) look();
  };
  const calls = createWakeCalls({
    call: wakeService,
    onAnswer: (service) => {
      lookAll();
      // It was woken here, or whoever asked has gone.
      if (count(service) === 0) calls.forget(service);
    },
  });
  network.subscribe(lookAll);

  const choose = (choice: Choice, avoided: ReadonlySet<string>): Target | undefined => {
    const able = (some: readonly Target[]): readonly Target[] =>
      some.filter(({ processId }) => !avoided.has(processId));
    const ready = able(choice.ready);
    if (ready.length > 0) return ready[Math.floor(random() * ready.length)];
    const here = able(choice.here).find(({ processId }) => wakeProcess(processId));
    // The controller hears of it, and need not be waited for.
    if (here !== undefined) calls.ask(here.service);
    if (here !== undefined || choice.asleep === undefined) return here;
    calls.ask(choice.asleep);
    const isGranted = calls.answerOf(choice.asleep)?.kind === "granted";
    return isGranted ? able(choice.elsewhere)[0] : undefined;
  };

  return {
    queued: () => queued,
    hold: async (route, { signal, avoided }) => {
      const find = (): Choice => findTargets(route, { ...network.state(), nodeId });
      const first = find();
      const at = choose(first, avoided);
      if (at !== undefined) return at;
      const service = first.asleep ?? route.backends[0]?.service ?? "";
      if (count(service) >= route.limits.queueMax || looks.size >= HELD_MAX)
        throw new HoldError("QUEUE_FULL", "too many requests wait for a process");
      const { promise, resolve, reject } = Promise.withResolvers<Target>();
      const look = (): void => {
        const choice = find();
        const target = choose(choice, avoided);
        if (target !== undefined) return resolve(target);
        const answer = calls.answerOf(service);
        if (answer?.kind === "refused") reject(new HoldError("WAKE_REFUSED", answer.why));
      };
      const giveUp = (): void => {
        const answer = calls.answerOf(service);
        const why = answer?.kind === "unreached" ? `: ${answer.why}` : "";
        reject(new HoldError("WAKE_LATE", `no process was ready in time${why}`));
      };
      looks.add(look);
      queued.set(service, count(service) + 1);
      signal.addEventListener("abort", giveUp, { once: true });
      try {
        if (signal.aborted) giveUp();
        look();
        return await promise;
      } finally {
        signal.removeEventListener("abort", giveUp);
        looks.delete(look);
        leave(queued, service);
        if (count(service) === 0 && calls.answerOf(service) !== undefined) calls.forget(service);
      }
    },
  };
}

function leave(queued: Map<string, number>, service: string): void {
  const left = (queued.get(service) ?? 1) - 1;
  if (left > 0) queued.set(service, left);
  else queued.delete(service);
}
