import { execFile } from "node:child_process";
import { cpSync, mkdirSync, symlinkSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";

import { root } from "../../scripts/root.ts";
import { aTemporaryDirectory } from "../support/temporary.ts";

const configs = [
  ".oxfmtrc.json",
  "knip.json",
  "oxlint.config.ts",
  "package.json",
  "pnpm-workspace.yaml",
  "tsconfig.json",
  "scripts/lint/plugin.ts",
];

export type SeededTree = AsyncDisposable & {
  /** Runs one of the project's tools in the tree; gives all that it printed. */
  readonly run: (tool: string, ...args: readonly string[]) => Promise<string>;
};

/** A tree of its own with the project's configuration and the files of a seed: a rule that was never seen to fail is
 * no rule. */
export function aSeededTree(files: Readonly<Record<string, string>>): SeededTree {
  const folder = aTemporaryDirectory();
  for (const path of configs) cpSync(join(root, path), join(folder.path, path));
  symlinkSync(join(root, "node_modules"), join(folder.path, "node_modules"));
  for (const [path, text] of Object.entries(files)) {
    mkdirSync(dirname(join(folder.path, path)), { recursive: true });
    writeFileSync(join(folder.path, path), text);
  }
  return {
    run: (tool, ...args) =>
      new Promise((resolve) => {
        // The exit status is not looked at: the tests ask for each seed by name, which says more.
        execFile(
          join(root, "node_modules/.bin", tool),
          args,
          { cwd: folder.path, maxBuffer: 16 * 1024 * 1024 },
          (_error, stdout, stderr) => resolve(`${stdout}${stderr}`),
        );
      }),
    [Symbol.asyncDispose]: () => folder[Symbol.asyncDispose](),
  };
}
