import { randomBytes } from "node:crypto";

import { type Call, createApi } from "../instance/api.ts";
import { LOCAL_PARTITION } from "../instance/node.ts";
import { aScratchInstance } from "../instance/scratch.ts";
import { waitFor } from "../instance/wait.ts";
import { aBareLxc } from "./bare-lxc.ts";
import type { Bench, Contestant } from "./bench.ts";
import { type EventWatch, watchEvents } from "./event-stream.ts";
import { goalAtMost, interleave, summarize } from "./measure.ts";
import { nodeProcesses } from "./node-processes.ts";
import { copyImage } from "./oci-copy.ts";
import { aPodman } from "./podman.ts";

const REMOVE_TIMEOUT_MS = 30_000;
/** A process without a health probe is ready as soon as it runs, and is then reported as that. */
const runningTypes: ReadonlySet<string> = new Set(["process.running", "process.ready"]);

const WHOLE = "wish → running, and known to be";
const PART = "order at the agent → running";

/** Ours is measured from the moment when the PUT was accepted to the event that says that the process runs, so
 * it has all of it: placement, the agent's poll, the start, the report. The peers are measured from the call to its end.
 * The second figure leaves out what lxc-start has no part in: controller, its disk, poll and report. */
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
    const orders: number[] = [];
    const subscriber = aSubscriber(createApi(instance), {
      events,
      note: (alias) => orders.push(nodeProcesses(instance).orderToRunMs(`${alias}-`)),
    });
    const samples = await interleave([subscriber, podman.contestant, lxc.contestant], {
      rounds,
      say,
    });
    const whole = summarize(WHOLE, "ms", samples);
    const bare = lxc.contestant.name;
    const parts = new Map([
      // The first round warms up.
      ["strata", orders.slice(1)],
      [bare, samples.get(bare) ?? []],
    ]);
    const part = summarize(PART, "ms", parts);
    return {
      results: [whole, part],
      goals: [goalAtMost(whole, podman.contestant.name, 0.25), goalAtMost(part, bare, 1.3)],
    };
  },
};

type Watching = {
  readonly events: EventWatch;
  /** Called while the process runs. */
  readonly note: (alias: string) => void;
};

function aSubscriber(api: Call, { events, note }: Watching): Contestant {
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
      note(alias);
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
