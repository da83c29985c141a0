import { execFileSync } from "node:child_process";
import { closeSync, ftruncateSync, openSync, rmSync } from "node:fs";

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

/** As `aSmallDisk`, but an ext4 on a loop device, without the reserve that root has: there a folder takes a block. */
export function aSmallExt4(sizeBytes: number): TemporaryDirectory {
  const folder = aTemporaryDirectory();
  const { path } = folder;
  const image = `${path}.img`;
  const fd = openSync(image, "wx");
  ftruncateSync(fd, sizeBytes);
  closeSync(fd);
  execFileSync("mke2fs", ["-q", "-m", "0", "-t", "ext4", image]);
  execFileSync("mount", ["-o", "loop", image, path]);
  return {
    path,
    [Symbol.asyncDispose]: async () => {
      execFileSync("umount", [path]);
      rmSync(image);
      await folder[Symbol.asyncDispose]();
    },
  };
}
