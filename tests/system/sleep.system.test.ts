/** Requests to a subscription that sleeps: a real controller, a node with an ingress, and containers. */
import { execFile } from "node:child_process";
import { request } from "node:http";
import { join } from "node:path";
import { promisify } from "node:util";

import { listOf, Process } from "@strata/protocol/api/resources";

import { measureWakes, type Sleeper } from "../../scripts/benches/ingress/wake.ts";
import { waitFor } from "../../scripts/instance/wait.ts";
import { root } from "../../scripts/root.ts";
import { inOwnNetwork } from "../agent/support/own-network.ts";
import { aControllerProcess, type ControllerProcess } from "../support/controller-process.ts";
import { aKeptAgent, type KeptAgent } from "../support/kept-agent.ts";
import { assert, suite } from "../support/suite.ts";
import { aTemporaryDirectory } from "../support/temporary.ts";

const SCENARIO_MS = 240_000;
const WAKES = Number(process.env["STRATA_TEST_WAKES"] ?? 5);
const policy = {
  min: 0,
  max: 3,
  idleAfter: "1s",
  metrics: [{ kind: "in-flight", target: 100 }],
  sampleInterval: "500ms",
  stableWindow: "1s",
  panic: { window: "1s" },
  stabilisation: { shrink: 0 },
  rates: { shrink: { processes: 10, period: "1s" } },
  forecast: { enabled: false },
};

inOwnNetwork(import.meta.url, () =>
  suite("a subscription that sleeps", (test) => {
    test(
      "answers the request that wakes it, whoever of us was killed meanwhile",
      async () => {
        await using scene = await aScene();
        await scene.sleeps("frozen");
        print("frozen", await measureWakes(scene, WAKES));

        await scene.untilAsleep();
        const [frozen] = await scene.shown();
        process.kill(scene.agent.pid() ?? 0, "SIGKILL");
        await until("the next life of the agent wakes it", () => scene.ask().then(() => true));
        const [same] = await scene.shown();
        assert.equal([same?.id, same?.restarts], [frozen?.id, 0]);

        await scene.untilAsleep();
        await scene.controller.kill("SIGKILL");
        await scene.ask();
        await scene.controller.start();
        await until("the controller knows that it is awake", async () => {
          const [one] = await scene.shown();
          return one?.frozen === false ? true : undefined;
        });

        await scene.sleeps("stopped");
        print("stopped", await measureWakes(scene, WAKES));
      },
      { timeoutMs: 2 * SCENARIO_MS },
    );
  }),
);

function print(depth: string, took: readonly number[]): void {
  const sorted = took.toSorted((left, right) => left - right);
  const at = (share: number): string =>
    `${(sorted[Math.ceil(share * sorted.length) - 1] ?? 0).toFixed(1)} ms`;
  console.log(`wakes of what was ${depth}: ${took.length}, p50 ${at(0.5)}, p99 ${at(0.99)}`);
}

type Scene = AsyncDisposable &
  Sleeper & {
    readonly controller: ControllerProcess;
    readonly agent: KeptAgent;
    readonly sleeps: (depth: "frozen" | "stopped") => Promise<void>;
    readonly shown: () => Promise<readonly Process[]>;
  };

async function aScene(): Promise<Scene> {
  await using stack = new AsyncDisposableStack();
  const folder = stack.use(aTemporaryDirectory());
  const controller = stack.use(
    await aControllerProcess({
      environment: { STRATA_PORT: "7070", STRATA_ADVERTISE: "127.0.0.1" },
    }),
  );
  const must = async (method: string, path: string, body?: object): Promise<unknown> => {
    const answer = await controller.call(method, path, body === undefined ? {} : { body });
    if (answer.status >= 300) throw new Error(`${path}: ${JSON.stringify(answer.body)}`);
    return answer.body;
  };
  await must("PUT", "/v1/partitions/web", { roles: ["ingress"] });
  const token = await controller.call("POST", "/v1/join-tokens", { body: { partition: "web" } });
  const joinToken: string = token.body.token;
  const agent = stack.use(await aKeptAgent(folder.path, { url: controller.url, joinToken }));
  const build = ["cartridge", "build", join(root, "examples/hello"), "--push", "-t", "hello:1"];
  await promisify(execFile)(process.execPath, [join(root, "cli/src/main.ts"), ...build], {
    env: { ...process.env, STRATA_URL: controller.url, STRATA_TOKEN: controller.adminToken() },
  });
  await must("PUT", "/v1/cartridges/hello", {
    image: "hello:1",
    partition: "web",
    health: { port: 8080, interval: "500ms" },
  });
  const shown = async (): Promise<readonly Process[]> =>
    listOf(Process).parse(await must("GET", "/v1/subscriptions/web/processes")).items;
  let depth = "stopped";
  const owned = stack.move();
  return {
    controller,
    agent,
    shown,
    sleeps: async (next) => {
      depth = next;
      await must("PUT", "/v1/scaling-policies/naps", { ...policy, sleep: next });
      await must("PUT", "/v1/subscriptions/web", { cartridge: "hello", scalingPolicy: "naps" });
      await until("the ingress leads to it", () => ask().then(() => true));
    },
    untilAsleep: async () => {
      await until(`it is ${depth}`, async () => {
        const all = await shown();
        const isAsleep = depth === "stopped" ? all.length === 0 : all.every(({ frozen }) => frozen);
        return isAsleep && (depth === "stopped" || all.length === 1) ? true : undefined;
      });
    },
    ask,
    [Symbol.asyncDispose]: () => owned.disposeAsync(),
  };
}

/** Through the ingress, each time by a connection of its own. */
async function ask(): Promise<void> {
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  const outgoing = request(
    {
      port: 8080,
      host: "127.0.0.1",
      agent: false,
      headers: { host: "web.default.localhost" },
    },
    (incoming) => {
      void incoming.toArray().then((parts) => {
        const page = parts.join("");
        if (incoming.statusCode === 200 && page.startsWith("Hello from web-")) resolve();
        else reject(new Error(`answered ${incoming.statusCode}: ${page.slice(0, 300)}`));
      }, reject);
    },
  );
  outgoing.once("error", reject);
  outgoing.end();
  await promise;
}

async function until<Value>(what: string, look: () => Promise<Value | undefined>): Promise<Value> {
  let last: unknown;
  const found = await waitFor(
    () =>
      look().catch((error: unknown) => {
        last = error;
        return undefined;
      }),
    { timeoutMs: SCENARIO_MS },
  );
  if (found === undefined) throw new Error(`never came true: ${what}`, { cause: last });
  return found;
}
