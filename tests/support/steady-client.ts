/** A client as it should be: it asks at a steady rate, one connection for each request, and only endpoints that it read
 * a moment ago. */
import { get } from "node:http";
import { setTimeout as delay } from "node:timers/promises";

export type SteadyClient = AsyncDisposable & {
  readonly answered: () => number;
  /** Why requests got no answer. Those that were not accepted were asked again elsewhere and are not among them. */
  readonly failures: readonly string[];
  /** Requests that were not accepted at all. */
  readonly refused: () => number;
  /** Requests under way to this endpoint. */
  readonly inFlight: (url: string) => number;
};

export type SteadyClientOptions = {
  /** All endpoints that may be asked now. May fail: then the ones read before are used on. */
  readonly read: () => Promise<readonly string[]>;
  readonly isRight: (page: string) => boolean;
  /** Between two readings. */
  readonly rereadMs: number;
  /** What was asked for so long without an answer is not known any more: it waits instead of asking on. */
  readonly patienceMs: number;
  /** Between two requests. */
  readonly everyMs: number;
  /** Asks elsewhere where a connection is refused; else that is a failure. */
  readonly asksElsewhere: () => boolean;
};

const IN_FLIGHT_MAX = 200;
const ANSWER_MS_MAX = 60_000;
const TRIES_MAX = 50;

export function aSteadyClient(options: SteadyClientOptions): SteadyClient {
  const stop = new AbortController();
  const failures: string[] = [];
  const underWay = new Map<string, number>();
  const requests = new Set<Promise<void>>();
  const count = { answered: 0, refused: 0, turn: 0 };
  let endpoints: readonly string[] = [];
  let askedAt: number | undefined;

  const reading = (async () => {
    while (!stop.signal.aborted) {
      askedAt = performance.now();
      // Nobody there: what was read before is the best that it knows.
      endpoints = await options.read().catch(() => endpoints);
      askedAt = undefined;
      await pause(options.rereadMs, stop.signal);
    }
  })();
  const next = (): string | undefined => endpoints[(count.turn += 1) % endpoints.length];
  const request = async (): Promise<void> => {
    for (let attempt = 0; attempt < TRIES_MAX; attempt += 1) {
      const url = next();
      if (url === undefined) return;
      underWay.set(url, (underWay.get(url) ?? 0) + 1);
      try {
        const page = await pageOf(url);
        if (options.isRight(page)) count.answered += 1;
        else failures.push(`${url}: another page: ${page}`);
        return;
      } catch (error) {
        if (!isRefusal(error)) return void failures.push(`${url}: ${String(error)}`);
        count.refused += 1;
        if (!options.asksElsewhere()) return void failures.push(`${url}: ${String(error)}`);
      } finally {
        underWay.set(url, (underWay.get(url) ?? 1) - 1);
      }
      await pause(options.everyMs, stop.signal);
    }
    failures.push(`not accepted in ${TRIES_MAX} attempts`);
  };
  const asking = (async () => {
    while (!stop.signal.aborted) {
      const isBlind = askedAt !== undefined && performance.now() - askedAt > options.patienceMs;
      if (!isBlind && requests.size < IN_FLIGHT_MAX && endpoints.length > 0) {
        const one = request().finally(() => requests.delete(one));
        requests.add(one);
      }
      await pause(options.everyMs, stop.signal);
    }
  })();
  return {
    answered: () => count.answered,
    failures,
    refused: () => count.refused,
    inFlight: (url) => underWay.get(url) ?? 0,
    [Symbol.asyncDispose]: async () => {
      stop.abort();
      await Promise.all([reading, asking]);
      await Promise.all(requests);
    },
  };
}

async function pause(ms: number, signal: AbortSignal): Promise<void> {
  await delay(ms, undefined, { signal }).catch(() => undefined);
}

/** Nothing of the request can have been taken up. */
function isRefusal(error: unknown): boolean {
  const code = error instanceof Error && "code" in error ? error.code : undefined;
  return code === "ECONNREFUSED" || code === "EHOSTUNREACH";
}

/** Over a connection of its own. */
function pageOf(url: string): Promise<string> {
  const page = Promise.withResolvers<string>();
  const asked = get(url, { agent: false, timeout: ANSWER_MS_MAX }, (answer) => {
    const parts: Buffer[] = [];
    answer.on("data", (part: Buffer) => parts.push(part));
    answer.once("error", page.reject);
    answer.once("end", () => {
      if (answer.complete) page.resolve(Buffer.concat(parts).toString());
      else page.reject(new Error("the answer was cut off"));
    });
  });
  asked.once("timeout", () => asked.destroy(new Error("no answer in time")));
  asked.once("error", page.reject);
  return page.promise;
}
