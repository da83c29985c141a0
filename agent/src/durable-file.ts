import { mkdirSync, readFileSync, renameSync, writeFileSync } from "node:fs";
import { open } from "node:fs/promises";
import { dirname } from "node:path";

import { getErrorCode } from "@strata/protocol/errors";
import type { z } from "zod";

import { AgentError } from "./errors.ts";

/** Replaces a file as a whole, readable by its owner alone. A kill of the agent leaves the old or the new one; a loss
 * of power may leave neither. The folder must be there. */
export function replaceFile(path: string, content: string | Uint8Array): void {
  const fresh = `${path}.new`;
  writeFileSync(fresh, content, { mode: 0o600 });
  renameSync(fresh, path);
}

/** Replaces a file as a whole; when this resolves, the new content outlives a loss of power. Makes the folder.
 * Two calls for the same path must not overlap. */
export async function replaceFileDurably(path: string, content: string): Promise<void> {
  mkdirSync(dirname(path), { recursive: true, mode: 0o700 });
  const fresh = `${path}.new`;
  await using file = await open(fresh, "w", 0o600);
  await file.writeFile(content);
  await file.sync();
  renameSync(fresh, path);
  await using folder = await open(dirname(path), "r");
  await folder.sync();
}

/** Resolves when a file that was replaced outlives a loss of power, its name included. */
export async function syncFile(path: string): Promise<void> {
  for (const target of [path, dirname(path)]) {
    await using handle = await open(target, "r");
    await handle.sync();
  }
}

/** Undefined when there is no such file.
 * @throws AgentError STATE_UNREADABLE for content that does not fit the schema. */
export function readStateFile<T>(path: string, schema: z.ZodType<T>): T | undefined {
  const text = readOptionalFile(path);
  if (text === undefined) return undefined;
  try {
    return schema.parse(JSON.parse(text));
  } catch (cause) {
    throw new AgentError("STATE_UNREADABLE", `${path} is damaged`, {
      cause,
      hint: "move the file away; the agent makes a new one from what the controller says",
    });
  }
}

/** Undefined when there is no such file. */
export function readOptionalFile(path: string): string | undefined {
  try {
    return readFileSync(path, "utf8");
  } catch (error) {
    if (getErrorCode(error) === "ENOENT") return undefined;
    throw error;
  }
}
