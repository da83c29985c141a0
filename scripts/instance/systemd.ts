import { execFile } from "node:child_process";
import { existsSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { promisify } from "node:util";

import type { Instance } from "./instance.ts";
import type { Keeper, Service } from "./keeper.ts";
import { renderUnit } from "./units.ts";

const run = promisify(execFile);
const LOG_LINES = "15";

type Name = Service["name"];

/** True on a machine whose first process is systemd: sd_booted(3). */
export function isSystemdRunning(): boolean {
  return existsSync("/run/systemd/system");
}

/** Keeps services as units, so that they come back after a reboot. */
export function createSystemdKeeper({ settings }: Instance): Keeper {
  const bridge = settings["STRATA_BRIDGE"];
  const prefix = bridge === undefined ? "strata" : `strata-${bridge}`;
  const unitOf = (name: Name): string => `${prefix}-${name}.service`;
  const fileOf = (name: Name): string => join("/etc/systemd/system", unitOf(name));

  const stop: Keeper["stop"] = async (name) => {
    if (!existsSync(fileOf(name))) return "absent";
    await run("systemctl", ["disable", "--now", "--quiet", unitOf(name)]);
    return "stopped";
  };

  return {
    start: async (service) => {
      const [unit, file, text] = [unitOf(service.name), fileOf(service.name), renderUnit(service)];
      const wasActive = await succeeds("systemctl", ["is-active", "--quiet", unit]);
      const isSame = existsSync(file) && readFileSync(file, "utf8") === text;
      if (wasActive && isSame) return "running";
      writeFileSync(file, text);
      await run("systemctl", ["daemon-reload"]);
      await run("systemctl", ["enable", "--quiet", unit]);
      await run("systemctl", ["restart", unit]);
      return wasActive ? "restarted" : "started";
    },
    stop,
    remove: async (name) => {
      if (!existsSync(fileOf(name))) return;
      rmSync(fileOf(name));
      await run("systemctl", ["daemon-reload"]);
    },
    hasFailed: async (name) => {
      const { stdout } = await run("systemctl", ["show", "-P", "NRestarts", unitOf(name)]);
      return Number(stdout) > 0;
    },
    readLog: async (name) => {
      const flags = ["--no-pager", "-o", "cat", "-n", LOG_LINES, "-u", unitOf(name)];
      return (await run("journalctl", flags)).stdout;
    },
    logCommand: (name) => `journalctl -f -u ${unitOf(name)}`,
  };
}

async function succeeds(program: string, args: readonly string[]): Promise<boolean> {
  try {
    await run(program, args);
    return true;
  } catch {
    return false;
  }
}
