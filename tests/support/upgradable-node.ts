import { execFile } from "node:child_process";
import { chmodSync, mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { promisify } from "node:util";

import type { NodeUpgrade } from "@strata/protocol/api/nodes";

import { waitFor } from "../../scripts/instance/wait.ts";
import { root } from "../../scripts/root.ts";
import { aControllerProcess, type ControllerProcess } from "./controller-process.ts";
import type { Answer } from "./controller.ts";
import { aKeptAgent, type KeptAgent } from "./kept-agent.ts";
import { mustBecome } from "./running-instance.ts";
import { aTemporaryDirectory } from "./temporary.ts";

export type ShownProcess = { readonly id: string; readonly pid: number; readonly restarts: number };

export type OneNode = AsyncDisposable & {
  readonly controller: ControllerProcess;
  readonly agent: KeptAgent;
  /** Makes the controller serve this as the agent. */
  readonly serve: (program: string | Buffer) => void;
  readonly processes: () => Promise<readonly ShownProcess[]>;
  readonly ask: () => Promise<void>;
  readonly untilOver: () => Promise<NodeUpgrade>;
  /** Both. */
  readonly upgrade: () => Promise<NodeUpgrade>;
  readonly node: () => Promise<{
    name: string;
    upgrade: NodeUpgrade | null;
    agentVersion: string;
    state: string;
  }>;
};

/** A trial, three starts of the agent and ten seconds of reports, on a machine that has much else to do. */
const UPGRADE_MS_MAX = 180_000;

/** A controller, one node whose agent is the compiled binary, and two running processes. */
export async function anUpgradableNode(): Promise<OneNode> {
  const stack = new AsyncDisposableStack();
  const folder = stack.use(aTemporaryDirectory());
  const served = join(folder.path, "served");
  mkdirSync(served);
  const controller = stack.use(
    await aControllerProcess({ environment: { STRATA_AGENT_DIR: served } }),
  );
  const mustCall = async (method: string, path: string, body?: object): Promise<Answer["body"]> => {
    const answer = await controller.call(method, path, body === undefined ? {} : { body });
    if (answer.status >= 300) throw new Error(`${path}: ${JSON.stringify(answer.body)}`);
    return answer.body;
  };
  await mustCall("PUT", "/v1/partitions/web", {});
  const { token } = await mustCall("POST", "/v1/join-tokens", { partition: "web" });
  const agent = stack.use(await aKeptAgent(folder.path, { url: controller.url, joinToken: token }));
  const build = ["cartridge", "build", join(root, "examples/hello"), "--push", "-t", "hello:1"];
  await promisify(execFile)(process.execPath, [join(root, "cli/src/main.ts"), ...build], {
    env: { ...process.env, STRATA_URL: controller.url, STRATA_TOKEN: controller.adminToken() },
  });
  await mustCall("PUT", "/v1/cartridges/hello", { image: "hello:1", partition: "web" });
  await mustCall("PUT", "/v1/subscriptions/hello", { cartridge: "hello", processes: 2 });
  const processes: OneNode["processes"] = async () => {
    const { items } = await mustCall("GET", "/v1/subscriptions/hello/processes");
    return items.map(({ id, pid, restarts }: ShownProcess) => ({ id, pid, restarts }));
  };
  await mustBecome("two processes are ready", async () => {
    const { status } = await mustCall("GET", "/v1/subscriptions/hello");
    return status.ready === 2 ? true : undefined;
  });
  const node: OneNode["node"] = async () => (await mustCall("GET", "/v1/nodes")).items[0];
  const ask: OneNode["ask"] = async () => {
    const { items } = await mustCall("GET", "/v1/nodes");
    await mustCall("POST", `/v1/nodes/${items[0].name}/upgrade`);
  };
  const untilOver: OneNode["untilOver"] = async () => {
    const found = await waitFor(
      async () => {
        const { upgrade } = await node();
        const isOver = /^(complete|refused|rolledBack)$/.test(upgrade?.state ?? "");
        return isOver && upgrade !== null ? upgrade : undefined;
      },
      { timeoutMs: UPGRADE_MS_MAX },
    );
    if (found === undefined) throw new Error(`the upgrade did not end: ${agent.log()}`);
    return found;
  };
  const owned = stack.move();
  return {
    controller,
    agent,
    serve: (program) => {
      const path = join(served, "strata-agent-linux-amd64");
      writeFileSync(path, program);
      chmodSync(path, 0o755);
    },
    processes,
    node,
    ask,
    untilOver,
    upgrade: async () => {
      await ask();
      return await untilOver();
    },
    [Symbol.asyncDispose]: () => owned.disposeAsync(),
  };
}
