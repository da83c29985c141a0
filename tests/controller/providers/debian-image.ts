import { execFileSync } from "node:child_process";
import { createHash } from "node:crypto";
import { mkdirSync, readFileSync } from "node:fs";
import { join } from "node:path";

/** A Debian machine with systemd, cloud-init and LXC, made once and kept. */
export type DebianImage = {
  /** For Incus and LXD: a container image. */
  readonly tarFile: string;
  /** For QEMU: a raw ext4 file system labelled `root`, and what boots it. */
  readonly diskFile: string;
  readonly kernelFile: string;
  readonly initrdFile: string;
};

const CACHE = "/var/cache/strata-test";

/** Takes some three minutes the first time. */
export function requireDebianImage(): DebianImage {
  const script = join(import.meta.dirname, "make-debian-image.sh");
  const hash = createHash("sha256").update(readFileSync(script)).digest("hex").slice(0, 12);
  const folder = join(CACHE, `debian-12-${hash}`);
  mkdirSync(CACHE, { recursive: true });
  // Two test runs may want it at once: the second waits and finds it done.
  execFileSync("flock", [join(CACHE, "lock"), "nice", script, CACHE, folder], { stdio: "inherit" });
  return {
    tarFile: join(folder, "image.tar"),
    diskFile: join(folder, "disk.raw"),
    kernelFile: join(folder, "vmlinuz"),
    initrdFile: join(folder, "initrd.img"),
  };
}
