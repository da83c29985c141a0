/** Starts the controller. The only file that reads the environment, the clock and randomness. */
import { randomBytes, randomInt } from "node:crypto";
import process from "node:process";

import { CodedError, getErrorCode } from "@strata/protocol/errors";

import { runRestore } from "./backup/restore-command.ts";
import { readConfig } from "./config.ts";
import { startController } from "./controller.ts";
import type { World } from "./core.ts";
import { createLogger } from "./logger.ts";

const ID_ALPHABET = "abcdefghijklmnopqrstuvwxyz234567";
const ID_LENGTH = 8;

await main().catch((error: unknown) => {
  const hint = error instanceof CodedError ? (error.hint ?? "") : "";
  const message = error instanceof Error ? error.message : String(error);
  const code = getErrorCode(error) ?? "INTERNAL";
  process.stderr.write(
    `strata-controller: ${message} (${code})\n${hint === "" ? "" : `  ${hint}\n`}`,
  );
  // A coded error speaks for itself; anything else needs its stack.
  if (code === "INTERNAL" && error instanceof Error) process.stderr.write(`${error.stack ?? ""}\n`);
  // For who restarts it: another start does not help.
  process.exitCode = code.startsWith("DATABASE_") ? 3 : 1;
});

async function main(): Promise<void> {
  const [command, ...args] = process.argv.slice(2);
  if (command === "restore") {
    return runRestore({
      args,
      dataDirectory: process.env["STRATA_DATA"] ?? "/var/lib/strata",
      nowMs: Date.now(),
      epoch: randomBytes(32).toString("base64url"),
      print: (line) => void process.stdout.write(`${line}\n`),
    });
  }
  const config = readConfig(process.env);
  const logger = createLogger(config.logLevel);
  const world: World = {
    config,
    logger,
    clock: { nowMs: () => Date.now(), monotonicMs: () => performance.now() },
    random: {
      newId: () =>
        Array.from({ length: ID_LENGTH }, () => ID_ALPHABET[randomInt(ID_ALPHABET.length)]).join(
          "",
        ),
      newSecret: () => randomBytes(32).toString("base64url"),
      fraction: () => randomInt(2 ** 32) / 2 ** 32,
    },
  };
  const controller = await startController(world);
  let stopped: Promise<void> | undefined;
  const stop = (signal: string): void => {
    logger.info({ signal }, "stopping");
    stopped ??= controller.stop();
    stopped.catch((error: unknown) => {
      logger.error({ err: error }, "could not stop in order");
      process.exitCode = 1;
    });
  };
  process.on("SIGTERM", stop);
  process.on("SIGINT", stop);
}
