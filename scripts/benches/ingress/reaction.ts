/** From the event that a process runs to the first request that it answers through the ingress. */
import { randomBytes } from "node:crypto";
import { setTimeout as delay } from "node:timers/promises";

import { listOf, Process } from "@strata/protocol/api/resources";

import { type Call, createApi } from "../../instance/api.ts";
import type { Instance } from "../../instance/instance.ts";
import { LOCAL_PARTITION } from "../../instance/node.ts";
import { waitFor } from "../../instance/wait.ts";
import { watchEvents } from "../event-stream.ts";
import { askIngress } from "./ask.ts";

export type EventsContext = {
  readonly instance: Instance;
  /** How many are measured. */
  readonly events: number;
  readonly say: (line: string) => void;
};

const processes = listOf(Process);
/** Between two tries: the figures are so exact. */
const ASK_EVERY_MS = 2;
/** A process without a health probe is ready as soon as it runs, and is then reported as that. */
const runningTypes: ReadonlySet<string> = new Set(["process.running", "process.ready"]);
const ANSWER_MS_MAX = 60_000;

/** In milliseconds. A request that was answered before the event came took none. */
export async function measureReactions(context: EventsContext): Promise<readonly number[]> {
  const { instance, events, say } = context;
  const api = createApi(instance);
  await using watch = await watchEvents(instance);
  const figures: number[] = [];
  const alias = `react-${randomBytes(3).toString("hex")}`;
  const path = `/v1/subscriptions/${alias}`;
  await api("PUT", path, { cartridge: "hello", partition: LOCAL_PARTITION, processes: 0 });
  for (let count = 0; count <= events; count += 1) {
    const running = watch.next(
      ({ type, subject }) => runningTypes.has(type) && subject.startsWith(`${alias}-`),
    );
    await api("POST", `${path}/scale`, { processes: 1 });
    const [runningAt, answeredAt] = await Promise.all([running, untilAnswered(instance, alias)]);
    // The first one waits for its route as well.
    if (count > 0) figures.push(Math.max(0, answeredAt - runningAt));
    await api("POST", `${path}/scale`, { processes: 0 });
    await untilGone(api, path);
    say(`reaction ${count} of ${events}`);
  }
  await api("DELETE", path);
  return figures;
}

/** Draining ones too: one that is wished for again before its end would not start anew. */
async function untilGone(api: Call, path: string): Promise<void> {
  const isGone = await waitFor(
    async () => {
      const { items } = processes.parse(await api("GET", `${path}/processes`));
      return items.length === 0 ? true : undefined;
    },
    { timeoutMs: ANSWER_MS_MAX },
  );
  if (isGone === undefined) throw new Error(`${path} still runs after ${ANSWER_MS_MAX} ms`);
}

/** Asks again and again. Resolves with the time of the first answer. */
export async function untilAnswered(instance: Instance, alias: string): Promise<number> {
  const endsAt = performance.now() + ANSWER_MS_MAX;
  while (performance.now() < endsAt) {
    if ((await askIngress(instance, alias)) === 200) return performance.now();
    await delay(ASK_EVERY_MS);
  }
  throw new Error(`${alias} did not answer through the ingress in ${ANSWER_MS_MAX} ms`);
}
