/** Nobody who asks at published ports notices what happens behind them: real containers on two nodes, and a client that
 * reads the endpoints anew all the time. */
import { execFile } from "node:child_process";
import { join } from "node:path";
import { promisify } from "node:util";

import { listOf, Process } from "@strata/protocol/api/resources";

import { waitFor } from "../../scripts/instance/wait.ts";
import { root } from "../../scripts/root.ts";
import { inOwnNetwork } from "../agent/support/own-network.ts";
import { aControllerProcess, type ControllerProcess } from "../support/controller-process.ts";
import { aKeptAgent, type KeptAgent } from "../support/kept-agent.ts";
import { aSteadyClient, type SteadyClient } from "../support/steady-client.ts";
import { assert, suite } from "../support/suite.ts";
import { aTemporaryDirectory } from "../support/temporary.ts";

/** Four times what a client needs that reads every two seconds, as the machine may be busy. */
const NOTICE_MS = 8000;
const wish = {
  cartridge: "hello",
  processes: 2,
  // Told to stop it is gone, and whoever comes then is refused.
  stopGrace: "10ms",
  rollout: { maxSurge: "100%", progressDeadline: "10m" },
  drain: { notice: NOTICE_MS / 1000, max: "60s" },
};
/** Of one scenario, on a machine that does much else. */
const SCENARIO_MS = 240_000;

inOwnNetwork(import.meta.url, () =>
  suite("a client of published ports", (test) => {
    test(
      "loses no request, whatever goes in an orderly way and whichever of us is killed",
      async () => {
        await using scene = await aScene();
        const { put, post, become, shown, client } = scene;
        await scene.watch("a roll-out", async () => {
          await put({ ...wish, env: { COLOUR: "red" } });
          await become(2, 2);
        });
        await scene.watch("scaling up and down", async () => {
          await post("/v1/subscriptions/web/scale", { processes: 4 });
          await become(4, 2);
          await post("/v1/subscriptions/web/scale", { processes: 2 });
          await become(2, 2);
        });
        await scene.watch("a restart, with kill -9 of an agent and of the controller", async () => {
          await post("/v1/subscriptions/web/restart", {});
          const [leaving] = await until("one drains", async () => {
            const draining = (await shown()).filter(({ state }) => state === "draining");
            return draining.length > 0 ? draining : undefined;
          });
          scene.agentOf(leaving?.node ?? "").kill();
          await scene.controller.kill("SIGKILL");
          await scene.controller.start();
          await become(2, 3);
        });
        await scene.watch("a drain of a node", async () => {
          const [from = ""] = (await shown()).map(({ node }) => node ?? "");
          await post(`/v1/nodes/${from}/drain`, {});
          await until("the node is empty", async () =>
            (await shown()).every(({ node }) => node !== from) ? true : undefined,
          );
          await become(2, 3);
        });
        assert.is(client.refused(), 0);

        const [victim] = await shown();
        const url = victim?.endpoints[0]?.url ?? "";
        scene.asksElsewhere();
        const inFlight = client.inFlight(url);
        process.kill(victim?.pid ?? 0, "SIGKILL");
        await until("it was started again", async () =>
          (await shown()).some((one) => one.id === victim?.id && one.restarts > 0 && one.ready)
            ? true
            : undefined,
        );
        await scene.answersMore(100);
        const lost = client.failures.length;
        console.log(
          `kill -9 of a process: ${lost} failed, ${inFlight} were in flight on it; ` +
            `${client.refused()} found it closed and asked another one`,
        );
        assert.ok(lost <= inFlight, client.failures.join("\n"));
      },
      { timeoutMs: 890_000 },
    );
  }),
);

type Agent = Pick<KeptAgent, "pid"> & { readonly kill: () => void };

type Scene = AsyncDisposable & {
  readonly controller: ControllerProcess;
  readonly client: SteadyClient;
  readonly put: (body: object) => Promise<void>;
  readonly post: (path: string, body: object) => Promise<void>;
  readonly shown: () => Promise<readonly Process[]>;
  /** Until there are so many processes, all of this generation and ready. */
  readonly become: (count: number, generation: number) => Promise<void>;
  readonly agentOf: (node: string) => Agent;
  /** Nothing fails while this happens and for some requests after it; says how many were answered. */
  readonly watch: (what: string, happens: () => Promise<void>) => Promise<void>;
  readonly answersMore: (count: number) => Promise<void>;
  /** From now on the client asks elsewhere where it is refused. */
  readonly asksElsewhere: () => void;
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
  await must("PUT", "/v1/partitions/web", {});
  const agents = new Map<string, KeptAgent>();
  for (const number of [0, 1]) {
    const { body } = await controller.call("POST", "/v1/join-tokens", {
      body: { partition: "web" },
    });
    const joinToken: string = body.token;
    const agent = stack.use(
      await aKeptAgent(folder.path, { url: controller.url, joinToken, number }),
    );
    const { items } = (await controller.call("GET", "/v1/nodes")).body;
    for (const { name } of items) if (!agents.has(name)) agents.set(name, agent);
  }
  const build = ["cartridge", "build", join(root, "examples/hello"), "--push", "-t", "hello:1"];
  await promisify(execFile)(process.execPath, [join(root, "cli/src/main.ts"), ...build], {
    env: { ...process.env, STRATA_URL: controller.url, STRATA_TOKEN: controller.adminToken() },
  });
  await must("PUT", "/v1/cartridges/hello", {
    image: "hello:1",
    partition: "web",
    health: { port: 8080, interval: "500ms" },
  });
  const put = async (body: object): Promise<void> =>
    void (await must("PUT", "/v1/subscriptions/web", body));
  await put(wish);
  const shown = async (): Promise<readonly Process[]> =>
    listOf(Process).parse(await must("GET", "/v1/subscriptions/web/processes")).items;
  const become: Scene["become"] = async (count, generation) => {
    await until(`${count} of generation ${generation} are ready`, async () => {
      const all = await shown();
      const areRight = all.every(
        (one) => one.generation === generation && one.ready && one.state === "running",
      );
      return all.length === count && areRight ? true : undefined;
    });
  };
  await become(2, 1);
  let asksElsewhere = false;
  const client = stack.use(
    aSteadyClient({
      read: async () =>
        (await shown())
          .filter(({ ready, state }) => ready && state === "running")
          .flatMap(({ endpoints }) => endpoints.map(({ url }) => url)),
      isRight: (page) => page.startsWith("Hello from web-"),
      rereadMs: 2000,
      patienceMs: NOTICE_MS / 4,
      everyMs: 20,
      asksElsewhere: () => asksElsewhere,
    }),
  );
  const answersMore: Scene["answersMore"] = async (count) => {
    const before = client.answered();
    await until(`${count} more answers`, async () =>
      client.answered() >= before + count ? true : undefined,
    );
  };
  const owned = stack.move();
  return {
    controller,
    client,
    put,
    post: async (path, body) => void (await must("POST", path, body)),
    shown,
    become,
    agentOf: (node) => {
      const pid = agents.get(node)?.pid;
      if (pid === undefined) throw new Error(`no agent of ${node}`);
      return { pid, kill: () => void process.kill(pid() ?? 0, "SIGKILL") };
    },
    watch: async (what, happens) => {
      const before = client.answered();
      await happens();
      await answersMore(100);
      const answered = client.answered() - before;
      console.log(`${what}: ${answered} answered, ${client.failures.length} failed`);
      assert.equal(client.failures, []);
    },
    answersMore,
    asksElsewhere: () => {
      asksElsewhere = true;
    },
    [Symbol.asyncDispose]: () => owned.disposeAsync(),
  };
}

async function until<Value>(what: string, ask: () => Promise<Value | undefined>): Promise<Value> {
  const found = await waitFor(() => ask().catch(() => undefined), { timeoutMs: SCENARIO_MS });
  if (found === undefined) throw new Error(`never came true: ${what}`);
  return found;
}
