import { readFileSync } from "node:fs";
import { join } from "node:path";

import { root } from "../root.ts";
import type { Instance } from "./instance.ts";
import type { Service } from "./keeper.ts";

const architecture = process.arch === "arm64" ? "arm64" : "amd64";

/** The agent's executable for this machine, as `scripts/build.ts` makes it. */
export const agentBinary: string = join(root, `dist/strata-agent-linux-${architecture}`);

/** The controller's bundle, as `scripts/build.ts` makes it, by a Node that keeps its memory small. */
export const controllerCommand: readonly string[] = [
  process.execPath,
  // Without them what a burst of work allocated for a moment stays for good: little room for what is new, and what
  // is old is looked through when it has grown by a third.
  "--max-semi-space-size=2",
  "--heap-growing-percent=30",
  join(root, "controller/dist/main.mjs"),
];

/** The C library keeps fewer pools of what was freed, and less in each. */
export const controllerEnvironment: Readonly<Record<string, string>> = {
  MALLOC_ARENA_MAX: "2",
  MALLOC_TRIM_THRESHOLD_: "131072",
};

export function controllerService({ settings }: Instance): Service {
  const environment = {
    ...settings,
    ...controllerEnvironment,
    STRATA_AGENT_DIR: join(root, "dist"),
  };
  const inputs = readFileSync(join(root, "controller/dist/inputs"), "utf8");
  return {
    name: "controller",
    summary: "Strata controller and store",
    command: controllerCommand,
    environment,
    version: `${inputs} ${controllerCommand.join(" ")} ${JSON.stringify(environment)}`,
  };
}

export function agentService({ settings }: Instance): Service {
  const inputs = readFileSync(`${agentBinary}.inputs`, "utf8");
  return {
    name: "agent",
    summary: "Strata agent",
    command: [agentBinary, "run"],
    environment: settings,
    version: `${inputs} ${JSON.stringify(settings)}`,
  };
}
