/** Two real nodes in the network of the test (`inOwnNetwork`), with a controller that can be killed, and one subscription
 * of the cartridge `hello`. */
import { execFile } from "node:child_process";
import { join } from "node:path";
import { promisify } from "node:util";

import { listOf, Process } from "@strata/protocol/api/resources";

import { waitFor } from "../../scripts/instance/wait.ts";
import { root } from "../../scripts/root.ts";
import { aControllerProcess, type ControllerProcess } from "./controller-process.ts";
import { aKeptAgent, type KeptAgent } from "./kept-agent.ts";
import { aTemporaryDirectory } from "./temporary.ts";

/** Of what is waited for, on a machine that does much else. */
const WAIT_MS = 240_000;

export type TwoNodes = AsyncDisposable & {
  readonly controller: ControllerProcess;
  /** Names of the nodes. */
  readonly nodes: readonly string[];
  /** @throws Error for an answer that is not 2xx. */
  readonly must: (method: string, path: string, body?: object) => Promise<unknown>;
  /** The subscription `web`. */
  readonly put: (body: object) => Promise<void>;
  readonly shown: () => Promise<readonly Process[]>;
  /** Until there are so many processes, all of this generation and ready. */
  readonly become: (count: number, generation: number) => Promise<void>;
  /** As a crash does; its keeper starts it again. */
  readonly killAgent: (node: string) => void;
  readonly restartController: () => Promise<void>;
};

export async function twoNodes(environment: Readonly<Record<string, string>>): Promise<TwoNodes> {
  await using stack = new AsyncDisposableStack();
  const folder = stack.use(aTemporaryDirectory());
  const settings = { STRATA_PORT: "7070", STRATA_ADVERTISE: "127.0.0.1" };
  const controller = stack.use(
    await aControllerProcess({ environment: { ...settings, ...environment } }),
  );
  const must: TwoNodes["must"] = async (method, path, body) => {
    const answer = await controller.call(method, path, body === undefined ? {} : { body });
    if (answer.status >= 300) throw new Error(`${path}: ${JSON.stringify(answer.body)}`);
    return answer.body;
  };
  await must("PUT", "/v1/partitions/web", {});
  const agents = new Map<string, KeptAgent>();
  for (const number of [0, 1]) {
    const token = await controller.call("POST", "/v1/join-tokens", { body: { partition: "web" } });
    const joinToken: string = token.body.token;
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
  const shown = async (): Promise<readonly Process[]> =>
    listOf(Process).parse(await must("GET", "/v1/subscriptions/web/processes")).items;
  const owned = stack.move();
  return {
    controller,
    nodes: [...agents.keys()],
    must,
    put: async (body) => void (await must("PUT", "/v1/subscriptions/web", body)),
    shown,
    become: (count, generation) =>
      until(`${count} of generation ${generation} are ready`, async () => {
        const all = await shown();
        const areRight = all.every(
          (one) => one.generation === generation && one.ready && one.state === "running",
        );
        return all.length === count && areRight;
      }),
    killAgent: (node) => {
      const pid = agents.get(node)?.pid();
      if (pid === undefined) throw new Error(`no agent runs on ${node}`);
      process.kill(pid, "SIGKILL");
    },
    restartController: async () => {
      await controller.kill("SIGKILL");
      await controller.start();
    },
    [Symbol.asyncDispose]: () => owned.disposeAsync(),
  };
}

/** @throws Error when it does not come true in four minutes; a question that fails counts as no. */
export async function until(what: string, isSo: () => Promise<boolean> | boolean): Promise<void> {
  const found = await waitFor(
    async () => {
      try {
        return (await isSo()) || undefined;
      } catch {
        return undefined;
      }
    },
    { timeoutMs: WAIT_MS },
  );
  if (found === undefined) throw new Error(`never came true: ${what}`);
}
