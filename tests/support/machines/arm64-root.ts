import { requireKeptFolder } from "./kept-folder.ts";

const CACHE = "/var/cache/strata-test";

/** The C library and perl of Debian's arm64, unpacked and never run by this machine itself. Kept: takes some 10 s the
 * first time. */
export function requireArm64Root(): string {
  const command: readonly [string, ...string[]] = [
    "mmdebstrap",
    "--variant=extract",
    "--architectures=arm64",
    "--include=libc6,libgcc-s1,libcrypt1,perl-base",
    "bookworm",
  ];
  return requireKeptFolder({ cache: CACHE, name: "arm64-12", command });
}
