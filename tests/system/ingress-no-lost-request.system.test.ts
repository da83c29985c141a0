/** Nobody who asks through the ingress notices what happens behind it: real containers on two nodes, HAProxy on one of
 * them, and wrk at a steady rate. */
import { get } from "node:http";

import { inOwnNetwork } from "../agent/support/own-network.ts";
import { aWrk } from "../support/steady-wrk.ts";
import { assert, suite } from "../support/suite.ts";
import { twoNodes, type TwoNodes, until } from "../support/two-nodes.ts";

const URL_OF_INGRESS = "http://127.0.0.1:8080/";
const HOST = "web.default.localhost";
const wish = {
  cartridge: "hello",
  processes: 2,
  // Told to stop it is gone, and what is in flight on it is lost.
  stopGrace: "10ms",
  rollout: { maxSurge: "100%", progressDeadline: "10m" },
};
const naps = {
  min: 0,
  max: 2,
  metrics: [{ kind: "in-flight", target: 100, activation: 0 }],
  sampleInterval: "250ms",
  stableWindow: "1s",
  panic: { window: "1s" },
  stabilisation: { shrink: 0 },
  idleAfter: "2s",
  sleep: "frozen",
};

inOwnNetwork(import.meta.url, () =>
  suite("a client of the ingress", (test) => {
    test(
      "loses no request, whatever goes in an orderly way and whichever of us is killed",
      async () => {
        await using scene = await aScene();
        const { put, must, become, shown } = scene;

        await watch("a roll-out", async () => {
          await put({ ...wish, env: { COLOUR: "red" } });
          await become(2, 2);
        });
        await watch("scaling up and down", async () => {
          await must("POST", "/v1/subscriptions/web/scale", { processes: 4 });
          await become(4, 2);
          await must("POST", "/v1/subscriptions/web/scale", { processes: 2 });
          await become(2, 2);
        });
        await watch("a restart, with kill -9 of the agents and of the controller", async () => {
          await must("POST", "/v1/subscriptions/web/restart", {});
          await until("one drains", async () =>
            (await shown()).some(({ state }) => state === "draining"),
          );
          for (const node of scene.nodes) scene.killAgent(node);
          await scene.restartController();
          await become(2, 3);
        });
        await watch("a drain of a node", async () => {
          const [from = ""] = (await shown()).map(({ node }) => node ?? "");
          await must("POST", `/v1/nodes/${from}/drain`, {});
          await until("it is empty", async () =>
            (await shown()).every(({ node }) => node !== from),
          );
          await must("POST", `/v1/nodes/${from}/uncordon`, {});
          await become(2, 3);
        });
        await killOne(scene);
        await sleepAndWake(scene);
      },
      { timeoutMs: 890_000 },
    );
  }),
);

async function aScene(): Promise<TwoNodes> {
  const scene = await twoNodes({});
  try {
    const [ingress = ""] = scene.nodes;
    await scene.must("PUT", `/v1/nodes/${ingress}/roles`, { roles: ["ingress"] });
    await scene.put(wish);
    await scene.become(2, 1);
    await until("the ingress answers", isServed);
    return scene;
  } catch (error) {
    await scene[Symbol.asyncDispose]();
    throw error;
  }
}

/** No request fails while this happens. */
async function watch(what: string, happens: () => Promise<void>): Promise<void> {
  await using wrk = aWrk(URL_OF_INGRESS, HOST);
  await happens();
  await until("the ingress answers", isServed);
  const { answered, failed } = await wrk.finish();
  console.log(`${what}: ${answered} answered, ${failed} failed`);
  assert.is(failed, 0);
  assert.ok(answered > 0);
}

async function killOne({ shown }: TwoNodes): Promise<void> {
  await using wrk = aWrk(URL_OF_INGRESS, HOST);
  await until("the ingress answers", isServed);
  const [victim] = await shown();
  process.kill(victim?.pid ?? 0, "SIGKILL");
  await until("it was started again", async () =>
    (await shown()).some((one) => one.id === victim?.id && one.restarts > 0 && one.ready),
  );
  await until("the ingress answers", isServed);
  const { answered, failed } = await wrk.finish();
  console.log(
    `kill -9 of a process: ${answered} answered, ${failed} failed; ` +
      `at most ${wrk.connections} were in flight`,
  );
  assert.ok(failed <= wrk.connections);
}

async function sleepAndWake({ put, must, shown }: TwoNodes): Promise<void> {
  await must("PUT", "/v1/scaling-policies/naps", naps);
  await put({ ...wish, processes: undefined, scalingPolicy: "naps" });
  await until("the last one is frozen", async () => {
    const all = await shown();
    return all.length === 1 && all.every(({ frozen }) => frozen);
  });
  await watch("a frozen subscription", async () => {
    await until("it is awake", async () => (await shown()).some(({ frozen }) => !frozen));
  });
}

async function isServed(): Promise<boolean> {
  const status = Promise.withResolvers<number>();
  get(URL_OF_INGRESS, { headers: { host: HOST }, agent: false }, (answer) => {
    answer.resume();
    status.resolve(answer.statusCode ?? 0);
  }).once("error", status.reject);
  return (await status.promise) === 200;
}
