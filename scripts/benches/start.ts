import { randomBytes } from "node:crypto";

import { listOf, Process } from "@strata/protocol/api/resources";

import { type Call, createApi } from "../instance/api.ts";
import { LOCAL_PARTITION } from "../instance/node.ts";
import { aScratchInstance } from "../instance/scratch.ts";
import { waitFor } from "../instance/wait.ts";
import { aBareLxc } from "./bare-lxc.ts";
import type { Bench, Contestant } from "./bench.ts";
import { goalAtMost, interleave, summarize } from "./measure.ts";
import { copyImage } from "./oci-copy.ts";
import { aPodman } from "./podman.ts";

const RUN_TIMEOUT_MS = 30_000;

/** Ours is measured from the moment when the PUT was accepted to the moment when the API says that the process runs, so
 * it has all of it: placement, the agent's poll, the start, the report. The peers are measured from the call to its end. */
export const bench: Bench = {
  name: "start",
  summary: "From the accepted wish to a running container, the image being there",
  rounds: 20,
  run: async ({ rounds, say, folder }) => {
    await using scratch = await aScratchInstance(folder, say);
    const { instance } = scratch;
    const layout = await copyImage(instance, { repository: "hello", tag: "latest", folder });
    await using podman = await aPodman(layout, folder);
    await using lxc = await aBareLxc(layout, {
      folder,
      bridge: instance.settings["STRATA_BRIDGE"],
    });
    const samples = await interleave(
      [aSubscriber(createApi(instance)), podman.contestant, lxc.contestant],
      { rounds, say },
    );
    const result = summarize("start", "ms", samples);
    return { results: [result], goals: [goalAtMost(result, podman.contestant.name, 0.25)] };
  },
};

function aSubscriber(api: Call): Contestant {
  const prefix = `bench-${randomBytes(3).toString("hex")}`;
  return {
    name: "strata",
    measure: async (round) => {
      const path = `/v1/subscriptions/${prefix}-${round}`;
      await api("PUT", path, { cartridge: "hello", partition: LOCAL_PARTITION, processes: 1 });
      const acceptedAt = performance.now();
      const runningAt = await waitFor(() => timeOfRunning(api, path), {
        timeoutMs: RUN_TIMEOUT_MS,
        pollMs: 2,
      });
      if (runningAt === undefined) throw new Error(`${path} did not run in ${RUN_TIMEOUT_MS} ms`);
      await removeSubscription(api, path);
      return runningAt - acceptedAt;
    },
  };
}

async function timeOfRunning(api: Call, path: string): Promise<number | undefined> {
  const { items } = listOf(Process).parse(await api("GET", `${path}/processes`));
  return items.some(({ state }) => state === "running") ? performance.now() : undefined;
}

/** Waits for its end, or the next contestant would be measured while it stops. */
async function removeSubscription(api: Call, path: string): Promise<void> {
  await api("DELETE", path);
  const gone = await waitFor(
    async () => ((await api("GET", path)) === undefined ? true : undefined),
    { timeoutMs: RUN_TIMEOUT_MS },
  );
  if (gone === undefined) throw new Error(`${path} was not gone in ${RUN_TIMEOUT_MS} ms`);
}
