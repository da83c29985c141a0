/** Brings the files of a bundle that are no images to a folder. */
import { createWriteStream } from "node:fs";
import { mkdir, rename } from "node:fs/promises";
import { basename, join } from "node:path";
import { pipeline } from "node:stream/promises";

import { invalidBundle } from "./invalid.ts";
import type { Bundle } from "./read.ts";

/** The bundle was verified. Names were checked when it was read: one plain part below `strata/`.
 * @returns Paths of the files */
export async function extractFiles(bundle: Bundle, folder: string): Promise<readonly string[]> {
  await mkdir(folder, { recursive: true });
  const written: string[] = [];
  for (const { path } of bundle.contents.files) {
    const file = bundle.archive.files.get(path);
    if (file === undefined) throw invalidBundle(bundle.path, `${path} is missing`);
    const target = join(folder, basename(path));
    const mode = path.endsWith(".yaml") ? 0o644 : 0o755;
    const sink = createWriteStream(`${target}.partial`, { mode, flush: true });
    await pipeline(bundle.archive.stream(file), sink);
    await rename(`${target}.partial`, target);
    written.push(target);
  }
  return written;
}
