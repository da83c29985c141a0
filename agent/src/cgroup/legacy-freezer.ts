import { join } from "node:path";

import type { Cgroups } from "./cgroups.ts";
import { readGroupFile, writeOptionalGroupFile } from "./group-folder.ts";
import type { CgroupMounts } from "./mounts.ts";
import { isFrozen, setFrozen } from "./unified.ts";

/** The freezer of cgroup v1, or that of a v2 beside it. In v1 not even a KILL ends what is frozen. */
export function createLegacyFreezer(
  { legacy, unified }: CgroupMounts,
  parent: string,
): Pick<Cgroups, "freeze" | "thaw" | "isFrozen"> {
  const freezer = legacy.get("freezer");
  const container = (mount: string, processId: string): string =>
    join(mount, parent, processId, "box", "c");
  return {
    freeze: (processId) => {
      if (freezer !== undefined)
        return writeOptionalGroupFile(container(freezer, processId), "freezer.state", "FROZEN");
      return unified !== undefined && setFrozen(container(unified, processId), 1);
    },
    thaw: (processId) => {
      if (freezer !== undefined)
        writeOptionalGroupFile(container(freezer, processId), "freezer.state", "THAWED");
      if (unified !== undefined) setFrozen(container(unified, processId), 0);
    },
    isFrozen: (processId) => {
      const state =
        freezer === undefined
          ? undefined
          : readGroupFile(container(freezer, processId), "freezer.state");
      if (state !== undefined && state.trim() !== "THAWED") return true;
      return unified !== undefined && isFrozen(container(unified, processId));
    },
  };
}
