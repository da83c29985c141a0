/** A folder that appears as a whole or not at all. */
import * as fs from "node:fs";
import { basename, dirname, join, resolve } from "node:path";
import process from "node:process";

import { getErrorCode } from "@strata/protocol/coded-error";

import { runTool } from "../host/run-tool.ts";
import { LayerError } from "./errors.ts";

const REMOVE_TIMEOUT_MS = 10 * 60_000;

/** Runs `fill` with an empty sibling of `directory` as the working directory and no umask, then renames that over
 * `directory`, which must be missing or empty. After an error `directory` is as it was. One at a time: a process has
 * one working directory.
 * @throws LayerError LAYER_WRITE_FAILED, and what `fill` throws */
export async function fillDirectory<T>(directory: string, fill: () => Promise<T>): Promise<T> {
  const target = requireEmpty(directory);
  const before = process.cwd();
  const staging = makePrivateDirectory(
    join(dirname(target), `.${basename(target).slice(0, 200)}.`),
  );
  const umask = process.umask(0);
  try {
    process.chdir(staging);
    const result = await fill();
    replace(staging, target);
    return result;
  } catch (error) {
    process.chdir(before);
    await removeStaging(staging);
    throw error;
  } finally {
    process.chdir(before);
    process.umask(umask);
  }
}

/** Not `removeTree`: people may name a folder right below the root. This one was made by `mkdtemp` above. */
async function removeStaging(staging: string): Promise<void> {
  await runTool("rm", ["-rf", "--one-file-system", "--", staging], {
    timeoutMs: REMOVE_TIMEOUT_MS,
  });
}

/** A new folder whose path begins with `prefix`: closed to everybody else while it is filled, and of root's own
 * group even below a setgid folder, which would pass its group on. */
export function makePrivateDirectory(prefix: string): string {
  const path = fs.mkdtempSync(prefix);
  fs.chownSync(path, process.getuid?.() ?? 0, process.getgid?.() ?? 0);
  fs.chmodSync(path, 0o700);
  return path;
}

function requireEmpty(directory: string): string {
  const wanted = resolve(directory);
  try {
    const target = fs.realpathSync(wanted);
    if (fs.readdirSync(target).length === 0) return target;
  } catch (error) {
    const code = getErrorCode(error);
    if (code === "ENOENT") return wanted;
    throw new LayerError(
      "LAYER_WRITE_FAILED",
      `${directory} cannot be used: ${code ?? "an error"}`,
      { cause: error },
    );
  }
  throw new LayerError("LAYER_WRITE_FAILED", `${directory} is not empty`, {
    hint: "name a new or an empty folder",
  });
}

function replace(staging: string, target: string): void {
  try {
    fs.renameSync(staging, target);
  } catch (cause) {
    throw new LayerError(
      "LAYER_WRITE_FAILED",
      `${target} cannot be replaced: ${getErrorCode(cause) ?? "an error"}`,
      {
        cause,
        hint: "name a folder that is neither a mount point nor in use",
      },
    );
  }
}
