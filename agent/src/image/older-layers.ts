import { join } from "node:path";

import type { OlderLayer } from "./choose-bases.ts";
import { openContentFolder } from "./content.ts";
import { listImageRecords } from "./image-record.ts";
import { parseManifest } from "./manifest.ts";

/** The layers of all images of a repository that are ready in an image store's folder. Read anew at each call: it is
 * asked when a layer is to be fetched over a slow line. */
export function listOlderLayers(directory: string, repository: string): readonly OlderLayer[] {
  const contents = openContentFolder(join(directory, "contents"), join(directory, "incoming"));
  return listImageRecords(join(directory, "images"))
    .filter((record) => record.repository === repository)
    .flatMap(({ manifestDigest, diffIds }) => {
      const bytes = contents.get(manifestDigest);
      const document = bytes && parseManifest(bytes, manifestDigest);
      if (document?.kind !== "manifest") return [];
      return document.manifest.layers.flatMap(({ digest, size }, position) => {
        const diffId = diffIds[position];
        return diffId === undefined ? [] : [{ digest, diffId, size }];
      });
    });
}
