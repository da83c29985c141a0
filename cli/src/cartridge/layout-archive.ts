/** An OCI layout as one tar file, which other tools call `oci-archive`. */
import { createWriteStream } from "node:fs";
import { rename } from "node:fs/promises";
import { pipeline } from "node:stream/promises";

import { packEntries } from "./layer.ts";
import { readTree } from "./tree.ts";

/** The same layout gives the same file, whoever packs it. */
export async function packLayout(
  layout: string,
  file: string,
  epochSeconds: number,
): Promise<void> {
  const entries = (await readTree(layout, { onSkipped: () => undefined })).map((entry) => ({
    ...entry,
    mode: entry.type === "directory" ? 0o755 : 0o644,
    uid: 0,
    gid: 0,
  }));
  const partial = `${file}.partial`;
  await pipeline(packEntries(entries, epochSeconds), createWriteStream(partial));
  await rename(partial, file);
}
