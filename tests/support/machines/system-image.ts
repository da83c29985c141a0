import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import { join } from "node:path";

import { requireKeptFolder } from "./kept-folder.ts";

const CACHE = "/var/cache/strata-test";

/** The root file system of a Debian with systemd and runit, owned by real ids. Made once for each text of its script, and
 * kept: takes a minute or more the first time. Nothing may be changed in it. */
export function requireSystemImage(): string {
  const script = join(import.meta.dirname, "make-system-image.sh");
  const hash = createHash("sha256").update(readFileSync(script)).digest("hex").slice(0, 12);
  const name = `system-12-${hash}`;
  return join(requireKeptFolder({ cache: CACHE, name, command: [script] }), "rootfs");
}
