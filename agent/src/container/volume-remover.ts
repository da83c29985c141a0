/** Removes named volumes that the controller has no use for. */
import { existsSync } from "node:fs";
import { join } from "node:path";

import type { VolumeName } from "@strata/protocol/agent/volumes";

import type { AgentPaths } from "../paths.ts";
import { removeTree } from "../rootfs/remove-tree.ts";

export type VolumeRemover = {
  /** All that shall be gone by now; what is missing in a later list shall stay. */
  readonly want: (volumes: readonly VolumeName[]) => void;
  /** Of those that are wanted gone, the ones that are. */
  readonly removed: () => readonly VolumeName[];
  /** Tries what is left. Rejects with the file system's error; the next call tries again. */
  readonly work: () => Promise<void>;
};

export type VolumeRemoverOptions = {
  readonly paths: Pick<AgentPaths, "volumes">;
  /** Whether a process of this node has it, or may start with it. */
  readonly isUsed: (volume: VolumeName) => boolean;
  readonly onRemoved: () => void;
};

export function createVolumeRemover(options: VolumeRemoverOptions): VolumeRemover {
  const { paths, isUsed, onRemoved } = options;
  let wanted: readonly VolumeName[] = [];
  const folderOf = ({ tenant, name }: VolumeName): string => join(paths.volumes, tenant, name);
  const isGone = (volume: VolumeName): boolean => !existsSync(folderOf(volume));
  return {
    want: (volumes) => {
      wanted = volumes;
    },
    removed: () => wanted.filter(isGone),
    work: async () => {
      const doomed = wanted.filter((volume) => !isGone(volume) && !isUsed(volume));
      if (doomed.length === 0) return;
      await removeTree(...doomed.map(folderOf));
      onRemoved();
    },
  };
}
