/** Deletes images and what no other image needs. Whatever a pull under way relies on stays. */
import { existsSync, readdirSync, rmSync } from "node:fs";
import { join } from "node:path";

import { type Digest, isDigest } from "@strata/protocol/oci/digest";

import { digestPath } from "./content.ts";
import { getImageRecord, listImageRecords, removeImageRecord } from "./image-record.ts";
import { type LayerFolderOptions, removeLayer } from "./layer-folder.ts";

export type RemovalOptions = {
  /** Of the image store. */
  readonly directory: string;
  readonly layers: Pick<LayerFolderOptions, "directory" | "incoming">;
  /** Images that are being pulled: each relies on contents before anybody knows which they are. */
  readonly pulled: () => readonly string[];
  /** A layer or content that a pull under way relies on, or is about to name. */
  readonly isHeld: (digest: Digest) => boolean;
};

export type Removal = {
  /** Idempotent; does nothing to an image that is being pulled. */
  readonly remove: (image: Digest) => Promise<void>;
  /** Layers and contents of no image, which pulls that failed leave behind. Says how many layers they were. */
  readonly removeOrphans: () => Promise<number>;
};

export function createRemoval({ directory, layers, pulled, isHeld }: RemovalOptions): Removal {
  const records = join(directory, "images");
  const contents = join(directory, "contents");
  // A kill between two of these leaves orphans: never a record of what is not here, never half a layer.
  const isNeeded = (digest: Digest): boolean =>
    isHeld(digest) ||
    listImageRecords(records).some(
      ({ diffIds, contents: own }) => diffIds.includes(digest) || own.includes(digest),
    );
  const removeLayerUnlessNeeded = async (diffId: Digest): Promise<boolean> => {
    // Asked anew for each, and nothing may be awaited in between: a pull may have begun meanwhile.
    if (isNeeded(diffId)) return false;
    await removeLayer(layers, diffId);
    return true;
  };
  const removeContentUnlessNeeded = (content: Digest): void => {
    if (!isNeeded(content)) rmSync(digestPath(contents, content), { force: true });
  };

  return {
    remove: async (image) => {
      const record = getImageRecord(records, image);
      if (record === undefined || pulled().includes(image)) return;
      removeImageRecord(records, image);
      for (const content of record.contents) removeContentUnlessNeeded(content);
      for (const diffId of record.diffIds) await removeLayerUnlessNeeded(diffId);
    },
    removeOrphans: async () => {
      let removed = 0;
      for (const diffId of listDigests(layers.directory)) {
        if (await removeLayerUnlessNeeded(diffId)) removed += 1;
      }
      if (pulled().length > 0) return removed;
      for (const content of listDigests(contents)) removeContentUnlessNeeded(content);
      return removed;
    },
  };
}

/** Of the files or folders that `digestPath` names. */
function listDigests(directory: string): readonly Digest[] {
  if (!existsSync(directory)) return [];
  return readdirSync(directory).flatMap((algorithm) =>
    readdirSync(join(directory, algorithm))
      .map((hex) => `${algorithm}:${hex}`)
      .filter(isDigest),
  );
}
