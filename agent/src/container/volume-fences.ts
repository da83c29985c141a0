/** The highest fence of each volume that this node has seen, beside the volumes: whoever comes with a lower one was
 * overtaken by another process, and starts no more. */
import { mkdirSync } from "node:fs";
import { dirname, join } from "node:path";

import { z } from "zod";

import { readStateFile, replaceFile } from "../durable-file.ts";
import { AgentError } from "../errors.ts";
import type { AgentPaths } from "../paths.ts";

const FenceFile = z.object({ version: z.literal(1), fence: z.int().nonnegative() });

/** Writes down the fences of a process that is about to start.
 * @throws AgentError VOLUME_FENCED, before anything is written; STATE_UNREADABLE */
export function raiseFences(
  paths: Pick<AgentPaths, "volumeFences">,
  tenant: string,
  fences: Readonly<Record<string, number>> = {},
): void {
  const wanted = Object.entries(fences).map(([name, fence]) => {
    const path = join(paths.volumeFences, tenant, `${name}.json`);
    return { name, fence, path, seen: readStateFile(path, FenceFile)?.fence ?? 0 };
  });
  const late = wanted.find(({ fence, seen }) => fence < seen);
  if (late !== undefined)
    throw new AgentError(
      "VOLUME_FENCED",
      `volume ${late.name} was given to another process since: fence ${late.fence} after ${late.seen}`,
    );
  for (const { path, fence, seen } of wanted) {
    if (fence === seen) continue;
    mkdirSync(dirname(path), { recursive: true, mode: 0o700 });
    replaceFile(path, JSON.stringify({ version: 1, fence }));
  }
}
