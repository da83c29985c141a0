/** The agent's composition root: the only file that reads the environment, the clock and randomness. Every subcommand
 * loads its own code alone: an unpacker is started for each layer and needs neither network nor logger. */
import { randomBytes } from "node:crypto";
import process from "node:process";

import type { Command, CommandContext } from "./commands/context.ts";
import type { Environment } from "./parse-setting.ts";
import { AGENT_VERSION } from "./version.ts";

type PlainCommand = Pick<Command, "name" | "summary"> & {
  readonly run: (argv: readonly string[], environment: Environment) => Promise<number>;
};

const commands = new Map<string, () => Promise<Command>>([
  ["run", async () => (await import("./commands/run.ts")).runCommand],
  ["join", async () => (await import("./commands/join.ts")).joinCommand],
  ["check", async () => (await import("./commands/check.ts")).checkCommand],
  ["stop-all", async () => (await import("./commands/stop-all.ts")).stopAllCommand],
  ["purge", async () => (await import("./commands/stop-all.ts")).purgeCommand],
  ["volumes", async () => (await import("./commands/volumes.ts")).volumesCommand],
]);

/** Those that need neither an identity nor a log. */
const plainCommands = new Map<string, () => Promise<PlainCommand>>([
  ["unpack", async () => (await import("./commands/unpack.ts")).unpackCommand],
  ["rootfs", async () => (await import("./commands/rootfs.ts")).rootfsCommand],
  ["unpack-worker", async () => (await import("./commands/unpack-worker.ts")).unpackWorkerCommand],
  ["delta-worker", async () => (await import("./commands/delta-worker.ts")).deltaWorkerCommand],
]);

process.exitCode = await main(process.argv.slice(2));

async function main([name = "", ...argv]: readonly string[]): Promise<number> {
  if (name === "version" || name === "--version") {
    process.stdout.write(`strata-agent ${AGENT_VERSION}\n`);
    return 0;
  }
  const loadPlain = plainCommands.get(name);
  const load = commands.get(name);
  const known = loadPlain ?? load;
  const asksForHelp = argv.includes("--help") || argv.includes("-h");
  try {
    if (known !== undefined && asksForHelp) return printHelp(await known());
    if (loadPlain !== undefined) return await (await loadPlain()).run(argv, process.env);
    if (load !== undefined) return await (await load()).run(argv, await createContext());
  } catch (error) {
    const { reportFailure } = await import("./commands/failure.ts");
    return reportFailure(error);
  }
  const isHelp = name === "--help" || name === "help";
  (isHelp ? process.stdout : process.stderr).write(await helpText());
  return isHelp ? 0 : 2;
}

function printHelp({ name, summary }: Pick<Command, "name" | "summary">): number {
  process.stdout.write(`strata-agent ${name}: ${summary}\n`);
  return 0;
}

async function createContext(): Promise<CommandContext> {
  const { parseConfig } = await import("./config.ts");
  const { createLogger } = await import("./logger.ts");
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

async function helpText(): Promise<string> {
  const loaders = [...commands.values(), ...plainCommands.values()];
  const all = await Promise.all(loaders.map((load) => load()));
  const lines = all
    .filter(({ summary }) => !summary.startsWith("internal"))
    .map(({ name, summary }) => `  ${name.padEnd(10)} ${summary}`);
  return `usage: strata-agent COMMAND\n\n${lines.join("\n")}\n  version    print the version\n`;
}
