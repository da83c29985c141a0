import { accessSync, constants, existsSync, readFileSync, statfsSync } from "node:fs";
import process from "node:process";

import { readCgroupMounts } from "../cgroup/mounts.ts";
import { canLimitIo, openCgroups } from "../cgroup/open-cgroups.ts";
import { type AgentConfig, ID_RANGE_SIZE } from "../config.ts";
import { SLOTS_MAX } from "../container/resources.ts";
import { HAPROXY } from "../ingress/haproxy.ts";
import { appArmorEntries, readAppArmorProfiles } from "../lxc/apparmor.ts";
import { hasDnsmasq } from "../names/dnsmasq.ts";
import { countSlots } from "../network/subnet.ts";
import { chooseMountFolder } from "../rootfs/mount-folder.ts";
import { findOverlaps, type IdRange, isMapped, readHeldIds } from "./id-ranges.ts";
import {
  findExisting,
  probeIdMappedMount,
  probeLinks,
  probeOverlay,
  probeRuleset,
  readLxcVersion,
} from "./kernel-probes.ts";

/** One thing that containers need of a host, or run better with. */
export type Need = {
  /** Stays the same from release to release. */
  readonly name: string;
  readonly level: "required" | "optional";
  readonly what: string;
  readonly remedy: string;
  /** Throws or gives back false when it is missing; text says what exactly stands in the way. */
  readonly isMet: () => boolean | string | Promise<boolean | string>;
};

/** Overlays over id-mapped mounts came with Linux 5.19. */
const KERNEL_MIN = [5, 19] as const;
const LXC_MIN = [5, 0] as const;
/** Less holds hardly an image. */
const FREE_BYTES_MIN = 1024 ** 3;

/** In the order in which they are worth looking at: what comes first is often why what follows fails. */
export function listNeeds(config: AgentConfig): readonly Need[] {
  return [...systemNeeds(config), ...programNeeds, ...kernelNeeds(config), ...wishes(config)];
}

function systemNeeds(config: AgentConfig): readonly Need[] {
  return [
    required("root", ["root", "run it as root"], () => process.getuid?.() === 0),
    required(
      "kernel",
      [
        `Linux ${KERNEL_MIN.join(".")} or newer`,
        "install the distribution's newer kernel (Debian 12, Ubuntu 22.04 with HWE, or later)",
      ],
      () => isAtLeast(readFileSync("/proc/sys/kernel/osrelease", "utf8"), KERNEL_MIN),
    ),
    required(
      "user-namespaces",
      ["user namespaces", "sysctl -w user.max_user_namespaces=65536"],
      () => Number(readFileSync("/proc/sys/user/max_user_namespaces", "utf8")) > 0,
    ),
    required(
      "cgroups",
      ["cgroups with memory, cpu and pids", "boot with cgroup v2, or mount the v1 controllers"],
      () => openCgroups("check", { dataFolder: findExisting(config.dataDirectory) }) !== undefined,
    ),
    required(
      "ids",
      [
        `user and group ids from ${config.idBase} on that nobody has`,
        "set STRATA_ID_BASE to where there are",
      ],
      () => describeIdTrouble(config),
    ),
    required(
      "mount-folder",
      ["a folder to mount on", "mkdir -m 0755 /mnt"],
      () => chooseMountFolder([config.dataDirectory, config.runDirectory]) !== "",
    ),
  ];
}

const programNeeds: readonly Need[] = [
  program("/usr/bin/lxc-execute", "lxc"),
  program("/usr/bin/lxc-attach", "lxc"),
  required(
    "lxc-version",
    [`LXC ${LXC_MIN.join(".")} or newer`, "apt-get install lxc"],
    async () => {
      const version = await readLxcVersion();
      return isAtLeast(version, LXC_MIN) || `this is ${version}`;
    },
  ),
  program("/usr/sbin/nft", "nftables"),
  program("/usr/bin/perl", "perl-base"),
  program("/usr/bin/unshare", "util-linux"),
  program("/usr/bin/fallocate", "util-linux"),
  program("/sbin/ip", "iproute2"),
];

function kernelNeeds(config: AgentConfig): readonly Need[] {
  return [
    required(
      "id-mapped-mounts",
      [
        `id-mapped mounts on the file system of ${config.dataDirectory}`,
        "put STRATA_DATA on ext4, xfs or btrfs of the machine itself",
      ],
      async () => {
        await probeIdMappedMount(config.dataDirectory);
        return true;
      },
    ),
    required("overlay", ["overlayfs", "modprobe overlay"], async () => {
      await probeOverlay(config.dataDirectory);
      return true;
    }),
    required("links", ["bridges and veth", "modprobe bridge veth"], async () => {
      await probeLinks();
      return true;
    }),
    required(
      "nftables",
      [
        "nftables with nat, fib, connection tracking and maps",
        "modprobe nf_tables nft_chain_nat nft_fib_inet nft_masq nft_ct",
      ],
      async () => {
        await probeRuleset(config);
        return true;
      },
    ),
  ];
}

function wishes(config: AgentConfig): readonly Need[] {
  return [
    optional(
      "disk",
      [
        `1 GiB free below ${config.dataDirectory}`,
        "free some, or set STRATA_DATA to a larger disk: images that nothing runs are deleted early here",
      ],
      () => {
        const { bavail, bsize } = statfsSync(findExisting(config.dataDirectory));
        return bavail * bsize >= FREE_BYTES_MIN;
      },
    ),
    optional(
      "cgroup-v2",
      [
        "cgroup v2",
        "boot with systemd.unified_cgroup_hierarchy=1: on v1 some shares and limits have no effect",
      ],
      () => !readCgroupMounts().legacy.has("memory"),
    ),
    optional(
      "pressure",
      [
        "pressure stall information",
        "boot with psi=1, on a kernel that has it: without it no process reports its pressure",
      ],
      () => existsSync("/proc/pressure/memory"),
    ),
    optional(
      "io-limits",
      [
        "limits of the disk",
        "have the io controller (v1: blkio), and the data on a disk: a process that asks for such limits does not start here",
      ],
      () => canLimitIo(readCgroupMounts(), findExisting(config.dataDirectory)),
    ),
    optional(
      "apparmor",
      [
        "AppArmor with LXC's profile",
        "apt-get install apparmor and boot with it: user namespaces, seccomp and capabilities hold without it",
      ],
      () => appArmorEntries(readAppArmorProfiles()).length === 0,
    ),
    optional(
      "haproxy",
      ["HAProxy", "apt-get install haproxy: a node with the role ingress needs it"],
      () => isProgram(HAPROXY),
    ),
    optional(
      "dnsmasq",
      [
        "dnsmasq",
        "apt-get install dnsmasq-base: without it processes find no subscription by name",
      ],
      hasDnsmasq,
    ),
    optional("igzip", ["igzip", "apt-get install isal: layers unpack faster with it"], () =>
      isProgram("/usr/bin/igzip"),
    ),
  ];
}

type Texts = readonly [what: string, remedy: string];

function required(name: string, [what, remedy]: Texts, isMet: Need["isMet"]): Need {
  return { name, level: "required", what, remedy, isMet };
}

function optional(name: string, [what, remedy]: Texts, isMet: Need["isMet"]): Need {
  return { name, level: "optional", what, remedy, isMet };
}

function program(path: string, package_: string): Need {
  const name = path.slice(path.lastIndexOf("/") + 1);
  return required(name, [path, `apt-get install ${package_}`], () => isProgram(path));
}

function isProgram(path: string): boolean {
  accessSync(path, constants.X_OK);
  return true;
}

/** "6.18.44-amd64" is at least 5.19. Pure. */
function isAtLeast(version: string, [major, minor]: readonly [number, number]): boolean {
  const [ownMajor = 0, ownMinor = 0] = version.split(".").map((part) => Number.parseInt(part, 10));
  return ownMajor > major || (ownMajor === major && ownMinor >= minor);
}

/** As many ranges as there are addresses. In a machine that is a container, only the first has to be there. */
function describeIdTrouble({ idBase, subnet }: AgentConfig): true | string {
  const slots = Math.min(countSlots(subnet), SLOTS_MAX);
  const count = Math.min(slots * ID_RANGE_SIZE, 2 ** 32 - idBase);
  const first: IdRange = { first: idBase, count: ID_RANGE_SIZE };
  for (const map of ["uid_map", "gid_map"]) {
    const isHere = isMapped(first, readFileSync(`/proc/self/${map}`, "utf8"));
    if (!isHere) return `this machine is a container and has no ids from ${idBase} on`;
  }
  const [overlap] = findOverlaps({ first: idBase, count }, readHeldIds());
  if (overlap === undefined) return true;
  const last = overlap.first + overlap.count - 1;
  return `${overlap.holder} has ${overlap.first}${overlap.count > 1 ? ` to ${last}` : ""}, of ${idBase} to ${idBase + count - 1}`;
}
