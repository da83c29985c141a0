import { existsSync, readdirSync, rmdirSync } from "node:fs";
import { dirname } from "node:path";
import { parseArgs } from "node:util";

import { AgentError } from "../errors.ts";
import { createHaproxy } from "../ingress/haproxy.ts";
import { readOrMakeMachineId } from "../machine-id.ts";
import { agentPaths } from "../paths.ts";
import { removeTree } from "../rootfs/remove-tree.ts";
import { Runtime } from "../runtime.ts";
import type { Command, CommandContext } from "./context.ts";
import { lockAgent } from "./lock.ts";

/** Ends every container of this agent. The agent must not run: it would start them again. */
export const stopAllCommand: Command = {
  name: "stop-all",
  summary:
    "stop every container of this node and its ingress; remove bridge, nft table and cgroups",
  run: async (argv, context) => {
    parseArgs({ args: [...argv], options: {} });
    using _lock = lockAgent(context.config.dataDirectory);
    await stopAll(context);
    return 0;
  },
};

/** As stop-all, and deletes the agent's data: images, logs and the identity. */
export const purgeCommand: Command = {
  name: "purge",
  summary: "stop-all, then delete the agent's images, logs and identity",
  run: async (argv, context) => {
    parseArgs({ args: [...argv], options: {} });
    {
      using _lock = lockAgent(context.config.dataDirectory);
      await stopAll(context);
    }
    await removeTree(context.config.dataDirectory);
    // The folders above are shared with a controller on the same machine.
    for (const path of [context.config.runDirectory, context.config.dataDirectory]) {
      removeIfEmpty(dirname(path));
    }
    return 0;
  },
};

function removeIfEmpty(path: string): void {
  if (existsSync(path) && readdirSync(path).length === 0) rmdirSync(path);
}

async function stopAll({ config, clock, logger, newId }: CommandContext): Promise<void> {
  const paths = agentPaths(config);
  const runtime = await Runtime.open({
    config,
    agentKey: await readOrMakeMachineId(paths.machineId, newId),
    images: {
      ensure: () => Promise.reject(new AgentError("NOT_RUNNING", "everything is stopped")),
    },
    clock,
    logger,
    onChange: () => undefined,
  });
  await createHaproxy(paths.ingress).end();
  await runtime.stopAll();
  await runtime.tearDown();
}
