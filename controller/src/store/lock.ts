import { mkdirSync } from "node:fs";
import { dirname } from "node:path";

import Database from "better-sqlite3";

import { ControllerError } from "../errors.ts";

const PATIENCE_MS = 5000;

/** Takes a data folder for this program alone, until `close` or its end: the kernel lets go of the lock then.
 * @param file Is made; holds nothing.
 * @throws ControllerError DATA_IN_USE when another program still has it after `patienceMs` [5 s]: one may be on its
 * way out */
export function lockData(
  file: string,
  { patienceMs = PATIENCE_MS }: { readonly patienceMs?: number } = {},
): { readonly close: () => void } {
  mkdirSync(dirname(file), { recursive: true, mode: 0o700 });
  const client = new Database(file, { timeout: patienceMs });
  try {
    client.pragma("locking_mode = EXCLUSIVE");
    client.exec("begin exclusive");
    return { close: () => client.close() };
  } catch (cause) {
    client.close();
    throw new ControllerError("DATA_IN_USE", `a controller has ${dirname(file)} open`, {
      cause,
      hint: "stop it first: scripts/down, or systemctl stop strata-controller",
    });
  }
}
