import { mkdtempSync, renameSync } from "node:fs";
import { basename, join } from "node:path";

import { getErrorCode } from "@strata/protocol/errors";

import { removeTree } from "./remove-tree.ts";

/** How the folder of what is on its way out is called; no process has such a name. */
const PREFIX = ".gone-";

/** Deletes folders of which new ones of the same name may be made at once: each is renamed first, to a new name in
 * `bin`, because an rm that outlives a kill of the agent would go on in whatever has the old name by then. What a
 * kill leaves in `bin` is the caller's to sweep. A folder that is not there is fine. */
export async function discardTrees(
  ...trees: readonly { readonly path: string; readonly bin: string }[]
): Promise<void> {
  await removeTree(...trees.flatMap(({ path, bin }) => moveInto(bin, path)));
}

function moveInto(bin: string, path: string): readonly string[] {
  const target = mkdtempSync(join(bin, PREFIX));
  try {
    renameSync(path, join(target, basename(path)));
  } catch (error) {
    if (getErrorCode(error) !== "ENOENT") throw error;
  }
  return [target];
}
