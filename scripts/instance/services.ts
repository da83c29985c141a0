import { readFileSync } from "node:fs";
import { join } from "node:path";

import { hashFiles } from "../hash-files.ts";
import { root } from "../root.ts";
import type { Instance } from "./instance.ts";
import type { Service } from "./keeper.ts";

const architecture = process.arch === "arm64" ? "arm64" : "amd64";

/** The agent's executable for this machine, as `scripts/build.ts` makes it. */
export const agentBinary: string = join(root, `dist/strata-agent-linux-${architecture}`);

export function controllerService({ settings }: Instance): Service {
  const environment = { ...settings, STRATA_AGENT_DIR: join(root, "dist") };
  const sources = ["{controller,registry,protocol}/src/**/*.ts", "pnpm-lock.yaml"];
  return {
    name: "controller",
    summary: "Strata controller and store",
    command: [process.execPath, join(root, "controller/src/main.ts")],
    environment,
    version: `${hashFiles(sources)} ${JSON.stringify(environment)}`,
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
