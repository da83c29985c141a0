import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import { join } from "node:path";

import { requireKeptFolder } from "./kept-folder.ts";

/** A Debian machine with systemd, cloud-init and all that an agent needs. */
export type DebianImage = {
  /** For Incus and LXD: a container image. */
  readonly tarFile: string;
  /** For QEMU: a raw ext4 file system labelled `root`, and what boots it. */
  readonly diskFile: string;
  readonly kernelFile: string;
  readonly initrdFile: string;
};

const CACHE = "/var/cache/strata-test";

/** Made once for each text of its script, and kept. Takes a minute or more the first time. */
export function requireDebianImage(): DebianImage {
  const script = join(import.meta.dirname, "make-debian-image.sh");
  const hash = createHash("sha256").update(readFileSync(script)).digest("hex").slice(0, 12);
  const name = `debian-12-${hash}`;
  const folder = requireKeptFolder({ cache: CACHE, name, command: [script] });
  return {
    tarFile: join(folder, "image.tar"),
    diskFile: join(folder, "disk.raw"),
    kernelFile: join(folder, "vmlinuz"),
    initrdFile: join(folder, "initrd.img"),
  };
}
