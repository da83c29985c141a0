import { mkdirSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import process from "node:process";

import { readOptionalFile } from "../durable-file.ts";
import { AgentError } from "../errors.ts";
import { identifyProcess, isAlive } from "../host/process-table.ts";

/** Makes sure that one agent at a time works on a data folder. The file names the holder, and a holder that was killed
 * holds nothing.
 * @throws AgentError CONFIG_INVALID when another agent runs */
export function lockAgent(dataDirectory: string): Disposable {
  mkdirSync(dataDirectory, { recursive: true, mode: 0o700 });
  const path = join(dataDirectory, "agent.pid");
  const [pid = 0, startTicks = 0] = (readOptionalFile(path) ?? "").split(" ").map(Number);
  if (pid > 0 && pid !== process.pid && isAlive({ pid, startTicks })) {
    throw new AgentError(
      "CONFIG_INVALID",
      `an agent with pid ${pid} already uses ${dataDirectory}`,
      {
        hint: "stop that agent first, or set STRATA_DATA to a folder of its own",
      },
    );
  }
  const own = identifyProcess(process.pid);
  writeFileSync(path, `${process.pid} ${own?.startTicks ?? 0}`, { mode: 0o600 });
  return { [Symbol.dispose]: () => rmSync(path, { force: true }) };
}
