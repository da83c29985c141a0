import { execFileSync } from "node:child_process";

import { aTemporaryDirectory, type TemporaryDirectory } from "./temporary.ts";

/** A file system of its own with so much space, gone with its scope. Needs root. */
export function aSmallDisk(sizeBytes: number): TemporaryDirectory {
  const folder = aTemporaryDirectory();
  const { path } = folder;
  execFileSync("mount", ["-t", "tmpfs", "-o", `size=${sizeBytes}`, "strata-test", path]);
  return {
    path,
    [Symbol.asyncDispose]: async () => {
      execFileSync("umount", [path]);
      await folder[Symbol.asyncDispose]();
    },
  };
}
