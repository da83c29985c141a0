import { AgentError } from "../errors.ts";
import type { Cgroups } from "./cgroups.ts";
import { type Disk, findDisk } from "./disk.ts";
import { readGroupFile } from "./group-folder.ts";
import { createLegacyCgroups } from "./legacy.ts";
import { type CgroupMounts, readCgroupMounts } from "./mounts.ts";
import { createUnifiedCgroups } from "./unified.ts";

export type OpenCgroupsOptions = {
  readonly mounts?: CgroupMounts;
  /** On the disk that limits of io are about [none: no such limits]. */
  readonly dataFolder?: string;
};

/** The groups of the agent called `agentKey`, by whichever version carries the memory controller on this host.
 * @throws AgentError HOST_UNFIT */
export function openCgroups(agentKey: string, options: OpenCgroupsOptions = {}): Cgroups {
  const { mounts = readCgroupMounts(), dataFolder } = options;
  const parent = `strata/${agentKey}`;
  const disk: Disk | undefined = dataFolder === undefined ? undefined : findDisk(dataFolder);
  if (mounts.legacy.has("memory")) return createLegacyCgroups({ mounts, parent, disk });
  if (mounts.unified !== undefined) {
    return createUnifiedCgroups({ mount: mounts.unified, parent, disk });
  }
  throw new AgentError("HOST_UNFIT", "no cgroup file system is mounted", {
    hint: "mount -t cgroup2 none /sys/fs/cgroup, and enter a network namespace with nsenter, not with ip netns exec, which hides it",
  });
}

/** Whether limits of io can hold for the disk under a folder. */
export function canLimitIo({ legacy, unified }: CgroupMounts, folder: string): boolean {
  if (findDisk(folder) === undefined) return false;
  if (legacy.has("memory")) return legacy.has("blkio");
  const controllers = readGroupFile(unified ?? "", "cgroup.controllers") ?? "";
  return controllers.split(/\s+/).includes("io");
}
