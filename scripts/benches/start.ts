import { randomBytes } from "node:crypto";

import { type Call, createApi } from "../instance/api.ts";
import { LOCAL_PARTITION } from "../instance/node.ts";
import { aScratchInstance } from "../instance/scratch.ts";
import { waitFor } from "../instance/wait.ts";
import { aBareLxc } from "./bare-lxc.ts";
import type { Bench, Contestant } from "./bench.ts";
import { type EventWatch, watchEvents } from "./event-stream.ts";
import { goalAtMost, interleave, summarize } from "./measure.ts";
import { copyImage } from "./oci-copy.ts";
import { aPodman } from "./podman.ts";

const REMOVE_TIMEOUT_MS = 30_000;
/** A process without a health probe is ready as soon as it runs, and is then reported as that. */
const runningTypes: ReadonlySet<string> = new Set(["process.running", "process.ready"]);

/** Ours is measured from the moment when the PUT was accepted to the event that says that the process runs, so
 * it has all of it: placement, the agent's poll, the start, the report. The peers are measured from the call to its end. */
export const bench: Bench = {
  name: "start",
  summary: "From the accepted wish to a running container, the image being there",
  rounds: 20,
  run: async ({ rounds, say, folder }) => {
    await using scratch = await aScratchInstance(folder, say);
    const { instance } = scratch;
    await using events = await watchEvents(instance);
    const layout = await copyImage(instance, { repository: "hello", tag: "latest", folder });
    await using podman = await aPodman(layout, folder);
    await using lxc = await aBareLxc(layout, {
      folder,
      instance,
      like: "hello-",
      command: ["/bin/hello"],
    });
    const samples = await interleave(
      [aSubscriber(createApi(instance), events), podman.contestant, lxc.contestant],
      { rounds, say },
    );
    const result = summarize("start", "ms", samples);
    return {
      results: [result],
      goals: [
        goalAtMost(result, podman.contestant.name, 0.25),
        goalAtMost(result, lxc.contestant.name, 1.3),
      ],
    };
  },
};

function aSubscriber(api: Call, events: EventWatch): Contestant {
  const prefix = `bench-${randomBytes(3).toString("hex")}`;
  return {
    name: "strata",
    measure: async (round) => {
      const alias = `${prefix}-${round}`;
      const path = `/v1/subscriptions/${alias}`;
      const running = events.next(
        ({ type, subject }) => runningTypes.has(type) && subject.startsWith(`${alias}-`),
      );
      await api("PUT", path, { cartridge: "hello", partition: LOCAL_PARTITION, processes: 1 });
      const acceptedAt = performance.now();
      const runningAt = await running;
      await removeSubscription(api, path);
      return runningAt - acceptedAt;
    },
  };
}

/** Waits for its end, or the next contestant would be measured while it stops. */
async function removeSubscription(api: Call, path: string): Promise<void> {
  await api("DELETE", path);
  const gone = await waitFor(
    async () => ((await api("GET", path)) === undefined ? true : undefined),
    { timeoutMs: REMOVE_TIMEOUT_MS },
  );
  if (gone === undefined) throw new Error(`${path} was not gone in ${REMOVE_TIMEOUT_MS} ms`);
}
