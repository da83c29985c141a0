import { existsSync } from "node:fs";

import { removeTree } from "../remove-tree.ts";
import { type Instance, isInstalled } from "./instance.ts";
import { createKeeper } from "./keepers.ts";
import { runProgram } from "./program.ts";
import { agentBinary } from "./services.ts";
import type { Context } from "./start-service.ts";

const STOP_TIMEOUT_MS = 120_000;

export type DownOptions = { readonly purge: boolean; readonly say: Context["say"] };

/** Stops the containers, the agent and the controller. With `purge`, nothing of the instance is left on the machine. */
export async function bringDown(instance: Instance, { purge, say }: DownOptions): Promise<void> {
  if (!isInstalled(instance)) {
    say(`nothing is set up in ${instance.data}`);
    return;
  }
  const keeper = createKeeper(instance);
  // The agent first, or it would start again what is stopped behind its back.
  say(`agent       ${await keeper.stop("agent")}`);
  await stopContainers(instance, purge ? "purge" : "stop-all");
  say(`containers  ${purge ? "stopped and removed, with bridge and nft table" : "stopped"}`);
  say(`controller  ${await keeper.stop("controller")}`);
  if (!purge) return;

  await keeper.remove("agent");
  await keeper.remove("controller");
  await removeTree(instance.run);
  await removeTree(instance.data);
  say(`data        ${instance.data} deleted`);
}

async function stopContainers({ settings }: Instance, verb: "purge" | "stop-all"): Promise<void> {
  if (!existsSync(agentBinary)) return; // Never built, so nothing was ever started.
  await runProgram([agentBinary, verb], {
    what: `strata-agent ${verb}`,
    remedy: "See the lines above, then run scripts/down again.",
    environment: settings,
    timeoutMs: STOP_TIMEOUT_MS,
  });
}
