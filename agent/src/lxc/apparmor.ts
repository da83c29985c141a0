import { readFileSync } from "node:fs";

import type { LxcEntry } from "./config-writer.ts";

const PROFILE = "lxc-container-default-cgns";
const LOADED_PROFILES = "/sys/kernel/security/apparmor/profiles";

/** Where the kernel has AppArmor, LXC confines a container by a profile of its own, and starts none when that profile
 * is not loaded, as on a Debian without the package apparmor. There the container goes without: its user namespace,
 * capabilities and seccomp do not depend on it. `loadedProfiles` is the kernel's list; undefined when it has none. */
export function appArmorEntries(loadedProfiles: string | undefined): readonly LxcEntry[] {
  const isLoaded = loadedProfiles?.split("\n").some((line) => line.startsWith(`${PROFILE} (`));
  return isLoaded === true ? [] : [["lxc.apparmor.profile", "unconfined"]];
}

export function readAppArmorProfiles(): string | undefined {
  try {
    return readFileSync(LOADED_PROFILES, "utf8");
  } catch {
    return undefined; // No AppArmor, or no securityfs.
  }
}
