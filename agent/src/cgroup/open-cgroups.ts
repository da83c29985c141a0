import { AgentError } from "../errors.ts";
import type { Cgroups } from "./cgroups.ts";
import { createLegacyCgroups } from "./legacy.ts";
import { type CgroupMounts, readCgroupMounts } from "./mounts.ts";
import { createUnifiedCgroups } from "./unified.ts";

/** The groups of the agent called `agentKey`, by whichever version carries the memory controller on this host.
 * @throws AgentError HOST_UNFIT */
export function openCgroups(agentKey: string, mounts: CgroupMounts = readCgroupMounts()): Cgroups {
  const parent = `strata/${agentKey}`;
  if (mounts.legacy.has("memory")) return createLegacyCgroups(mounts, parent);
  if (mounts.unified !== undefined) return createUnifiedCgroups(mounts.unified, parent);
  throw new AgentError("HOST_UNFIT", "no cgroup file system is mounted", {
    hint: "mount -t cgroup2 none /sys/fs/cgroup, and enter a network namespace with nsenter, not with ip netns exec, which hides it",
  });
}
