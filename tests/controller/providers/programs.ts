import { accessSync, constants } from "node:fs";
import { join } from "node:path";

import { suite } from "../../support/suite.ts";

const folders = ["/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin"];

/** A program, and the Debian package that brings it. */
export type Program = { readonly name: string; readonly package: string };

export const lxdPrograms: readonly Program[] = [
  { name: "lxd", package: "lxd" },
  { name: "dnsmasq", package: "dnsmasq-base" },
];
export const qemuPrograms: readonly Program[] = [
  { name: "qemu-system-x86_64", package: "qemu-system-x86" },
  { name: "qemu-img", package: "qemu-utils" },
  { name: "genisoimage", package: "genisoimage" },
];
export const imagePrograms: readonly Program[] = [
  { name: "debootstrap", package: "debootstrap" },
  { name: "mke2fs", package: "e2fsprogs" },
];

/** Whether all of them are here. Where one is missing, the run says what was not checked and how to have it. */
export function havePrograms(what: string, programs: readonly Program[]): boolean {
  const missing = programs.filter(
    ({ name }) => !folders.some((folder) => isProgram(join(folder, name))),
  );
  if (missing.length === 0) return true;
  const packages = missing.map((program) => program.package).join(" ");
  suite(what, (test) => test.skip("all of it", `run apt-get install ${packages}`));
  return false;
}

function isProgram(path: string): boolean {
  try {
    accessSync(path, constants.X_OK);
    return true;
  } catch {
    return false;
  }
}
