import { readFileSync, writeFileSync } from "node:fs";

/** Limits that the kernel counts for all containers of a node together, because its root makes them: one container could
 * use up what all others need. Raised this far, each of them ends at its container's own limits: watches and requests
 * are memory of the container, and terminals are counted there (lxc/container-config.ts). */
const minima = {
  "fs/inotify/max_user_instances": 2_147_483_647,
  "fs/inotify/max_user_watches": 2_147_483_647,
  "fs/aio-max-nr": 16_777_216,
  "kernel/pty/max": 65_536,
} as const;

/** Raises what is lower, and gives back the names of what could not be raised: the machine may be a container itself. */
export function raiseKernelLimits(settings = "/proc/sys"): readonly string[] {
  return Object.entries(minima).flatMap(([name, minimum]) => {
    try {
      const path = `${settings}/${name}`;
      if (Number(readFileSync(path, "utf8")) < minimum) writeFileSync(path, String(minimum));
      return [];
    } catch {
      return [name];
    }
  });
}
