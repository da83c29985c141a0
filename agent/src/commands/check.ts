import { accessSync, constants, readFileSync } from "node:fs";
import process from "node:process";
import { parseArgs } from "node:util";

import { openCgroups } from "../cgroup/open-cgroups.ts";
import { chooseMountFolder } from "../rootfs/mount-folder.ts";
import type { Command, CommandContext } from "./context.ts";

/** One thing that containers need of a host. */
type Need = {
  readonly what: string;
  readonly remedy: string;
  /** Throws or gives back false when it is missing. */
  readonly isMet: () => boolean;
};

/** Says what this machine lacks and how to get it; exit status 1 when anything is missing. Changes nothing. */
export const checkCommand: Command = {
  name: "check",
  summary: "say what this machine lacks for running containers, and how to get it",
  run: (argv, context) => {
    parseArgs({ args: [...argv], options: {} });
    const missing = needs(context).filter((need) => !holds(need));
    for (const { what, remedy } of missing) process.stdout.write(`missing: ${what}: ${remedy}\n`);
    if (missing.length === 0) process.stdout.write("this machine can run containers\n");
    return Promise.resolve(missing.length === 0 ? 0 : 1);
  },
};

function holds({ isMet }: Need): boolean {
  try {
    return isMet();
  } catch {
    return false;
  }
}

/** Overlays over id-mapped mounts came with Linux 5.19. */
const KERNEL_MIN = [5, 19] as const;

function needs({ config }: CommandContext): readonly Need[] {
  const program = (path: string, package_: string): Need => ({
    what: path,
    remedy: `apt-get install ${package_}`,
    isMet: () => isProgram(path),
  });
  return [
    { what: "root", remedy: "run it as root", isMet: () => process.getuid?.() === 0 },
    {
      what: `Linux ${KERNEL_MIN.join(".")} or newer`,
      remedy:
        "install the distribution's newer kernel (Debian 12, Ubuntu 22.04 with HWE, or later)",
      isMet: isKernelNewEnough,
    },
    {
      what: "overlayfs",
      remedy: "modprobe overlay",
      isMet: () => readFileSync("/proc/filesystems", "utf8").includes("\toverlay\n"),
    },
    {
      what: "user namespaces",
      remedy: "sysctl -w user.max_user_namespaces=65536",
      isMet: () => Number(readFileSync("/proc/sys/user/max_user_namespaces", "utf8")) > 0,
    },
    {
      what: "cgroups with memory, cpu and pids",
      remedy: "boot with cgroup v2, or mount the v1 controllers",
      isMet: () => openCgroups("check") !== undefined,
    },
    {
      what: "a folder to mount on",
      remedy: "mkdir -m 0755 /mnt",
      isMet: () => chooseMountFolder([config.dataDirectory, config.runDirectory]) !== "",
    },
    program("/usr/bin/lxc-execute", "lxc"),
    program("/usr/bin/lxc-attach", "lxc"),
    program("/usr/sbin/init.lxc.static", "lxc"),
    program("/usr/sbin/nft", "nftables"),
    program("/usr/bin/perl", "perl-base"),
    program("/usr/bin/fallocate", "util-linux"),
    program("/sbin/ip", "iproute2"),
  ];
}

function isProgram(path: string): boolean {
  accessSync(path, constants.X_OK);
  return true;
}

function isKernelNewEnough(): boolean {
  const [major = 0, minor = 0] = readFileSync("/proc/sys/kernel/osrelease", "utf8")
    .split(".")
    .map((part) => Number.parseInt(part, 10));
  return major > KERNEL_MIN[0] || (major === KERNEL_MIN[0] && minor >= KERNEL_MIN[1]);
}
