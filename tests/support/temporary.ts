import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

export type TemporaryDirectory = AsyncDisposable & { readonly path: string };

/** A folder that is gone with its scope: `await using folder = aTemporaryDirectory()`. */
export function aTemporaryDirectory(parent: string = tmpdir()): TemporaryDirectory {
  const path = mkdtempSync(join(parent, "strata-test-"));
  return {
    path,
    [Symbol.asyncDispose]: () => {
      rmSync(path, { recursive: true, force: true, maxRetries: 3 });
      return Promise.resolve();
    },
  };
}
