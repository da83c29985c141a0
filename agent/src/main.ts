/** The agent's composition root: the only file that reads the environment, the clock and randomness. */
import { randomBytes } from "node:crypto";
import process from "node:process";

import { checkCommand } from "./commands/check.ts";
import type { Command, CommandContext } from "./commands/context.ts";
import { reportFailure } from "./commands/failure.ts";
import { joinCommand } from "./commands/join.ts";
import { rootfsCommand } from "./commands/rootfs.ts";
import { runCommand } from "./commands/run.ts";
import { purgeCommand, stopAllCommand } from "./commands/stop-all.ts";
import { unpackWorkerCommand } from "./commands/unpack-worker.ts";
import { unpackCommand } from "./commands/unpack.ts";
import { parseConfig } from "./config.ts";
import { createLogger } from "./logger.ts";
import { AGENT_VERSION } from "./version.ts";

const commands: readonly Command[] = [
  runCommand,
  joinCommand,
  checkCommand,
  stopAllCommand,
  purgeCommand,
  unpackCommand,
  rootfsCommand,
  unpackWorkerCommand,
];

process.exitCode = await main(process.argv.slice(2));

async function main([name, ...argv]: readonly string[]): Promise<number> {
  if (name === "version" || name === "--version") {
    process.stdout.write(`strata-agent ${AGENT_VERSION}\n`);
    return 0;
  }
  const command = commands.find((candidate) => candidate.name === name);
  if (command === undefined) {
    const isHelp = name === "--help" || name === "help";
    (isHelp ? process.stdout : process.stderr).write(helpText());
    return isHelp ? 0 : 2;
  }
  try {
    return await command.run(argv, createContext());
  } catch (error) {
    return reportFailure(error);
  }
}

function createContext(): CommandContext {
  const environment = process.env;
  const config = parseConfig(environment);
  return {
    config,
    environment,
    clock: Date.now,
    random: Math.random,
    newId: () => randomBytes(8).toString("hex"),
    logger: createLogger(config.logLevel),
  };
}

function helpText(): string {
  const shown = commands.filter(({ summary }) => !summary.startsWith("internal"));
  const lines = shown.map((command) => `  ${command.name.padEnd(10)} ${command.summary}`);
  return `usage: strata-agent COMMAND\n\n${lines.join("\n")}\n  version    print the version\n`;
}
