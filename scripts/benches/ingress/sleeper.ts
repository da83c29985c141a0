/** A subscription of an installation that sleeps whenever nobody asks for it. */
import { randomBytes } from "node:crypto";

import { Subscription } from "@strata/protocol/api/resources";

import { type Call, createApi } from "../../instance/api.ts";
import type { Instance } from "../../instance/instance.ts";
import { LOCAL_PARTITION } from "../../instance/node.ts";
import { waitFor } from "../../instance/wait.ts";
import { askIngress } from "./ask.ts";
import { untilAnswered } from "./reaction.ts";
import type { Sleeper } from "./wake.ts";

/** How deep it sleeps. */
export type Depth = "frozen" | "stopped";

const ASLEEP_MS_MAX = 60_000;

/** It has answered once. Disposing of it deletes it. */
export async function aSleeper(
  instance: Instance,
  depth: Depth,
): Promise<Sleeper & AsyncDisposable> {
  const api = createApi(instance);
  const alias = `wake-${randomBytes(3).toString("hex")}`;
  const policy = `/v1/scaling-policies/${alias}`;
  const path = `/v1/subscriptions/${alias}`;
  await api("PUT", policy, {
    min: 0,
    max: 1,
    sleep: depth,
    idleAfter: "1s",
    stabilisation: { shrink: "0s" },
    stableWindow: "6s",
    drainMax: "1s",
    metrics: [{ kind: "requests", target: 1000 }],
  });
  const wish = { cartridge: "hello", partition: LOCAL_PARTITION, scalingPolicy: alias };
  await api("PUT", path, wish);
  await untilAnswered(instance, alias);
  return {
    untilAsleep: () => untilAsleep(api, path, depth),
    ask: async () => {
      const status = await askIngress(instance, alias);
      if (status !== 200) throw new Error(`a wake of ${alias} was answered with ${status}`);
    },
    [Symbol.asyncDispose]: async () => {
      await api("DELETE", path);
      // As long as processes of it end, it is there and has its policy.
      const isDeleted = await waitFor(
        () =>
          api("DELETE", policy).then(
            () => true,
            () => undefined,
          ),
        { timeoutMs: ASLEEP_MS_MAX },
      );
      if (isDeleted === undefined) throw new Error(`${policy} cannot be deleted`);
    },
  };
}

/** All is at rest: what is to be frozen is, and what is to be stopped is gone. */
async function untilAsleep(api: Call, path: string, depth: Depth): Promise<void> {
  const isAsleep = await waitFor(
    async () => {
      const { status } = Subscription.parse(await api("GET", path));
      const isSaid = status.message?.startsWith(`asleep (${depth})`) === true;
      return isSaid && (depth === "frozen" || status.running === 0) ? true : undefined;
    },
    { timeoutMs: ASLEEP_MS_MAX },
  );
  if (isAsleep === undefined) throw new Error(`${path} was not asleep in ${ASLEEP_MS_MAX} ms`);
}
