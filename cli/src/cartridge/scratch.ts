import { mkdir, mkdtemp } from "node:fs/promises";
import { basename, dirname, join, resolve } from "node:path";

import { removeTree } from "../remove-tree.ts";

export type Scratch = AsyncDisposable & { readonly path: string };

/** A new folder beside `target`, so that a rename from one to the other stays within one file system. Gone with
 * its scope, whatever became of the build. */
export async function scratchBeside(target: string): Promise<Scratch> {
  const parent = dirname(resolve(target));
  await mkdir(parent, { recursive: true });
  const path = await mkdtemp(join(parent, `.${basename(target)}-`));
  return { path, [Symbol.asyncDispose]: () => removeTree(path) };
}
