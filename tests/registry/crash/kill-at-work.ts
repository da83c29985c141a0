import { randomInt } from "node:crypto";
import { setTimeout as delay } from "node:timers/promises";

import { createClient } from "../../support/registry-client.ts";
import { startStore } from "../../support/store-process.ts";
import { churn } from "./clients.ts";
import type { Ledger } from "./ledger.ts";

/** A round ends after up to so many answers, and up to `afterMsMax` behind the last of them. */
const ANSWERS_MAX = 60;

export type Round = { readonly clients: number; readonly afterMsMax: number };

/** Starts the store, holds it against the ledger, and kills it while clients push and delete. Gives how long it took
 * to start, in milliseconds. */
export async function killAtWork(
  args: readonly string[],
  ledger: Ledger,
  round: Round,
): Promise<number> {
  const store = await startStore(args);
  try {
    await ledger.verify(createClient(store.url));
  } catch (error) {
    await store.kill();
    throw error;
  }
  const { promise: enough, resolve } = Promise.withResolvers<void>();
  let answersLeft = randomInt(ANSWERS_MAX);
  const onAnswer = (): void => {
    answersLeft -= 1;
    if (answersLeft < 0) resolve();
  };
  const clients = Promise.allSettled(
    Array.from({ length: round.clients }, (_, worker) =>
      churn(store.url, ledger, { worker, choose: randomInt, onAnswer }),
    ),
  );
  await Promise.race([enough, clients]);
  // Not a wait for anything: a moment between two answers.
  await delay(randomInt(round.afterMsMax));
  await store.kill();
  for (const client of await clients) if (client.status === "rejected") throw client.reason;
  return store.startMs;
}
