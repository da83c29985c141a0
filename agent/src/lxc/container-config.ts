import { ID_RANGE_SIZE } from "../config.ts";
import type { ContainerPlace } from "../network/network.ts";
import type { LxcEntry } from "./config-writer.ts";

/** All that a container's LXC configuration says. User, group and the home directory are not here: they depend on the
 * image's files, which the supervisor reads and hands to lxc-execute itself. */
export type ContainerConfig = {
  readonly hostname: string;
  readonly rootfs: string;
  readonly idBase: number;
  readonly seccompProfile: string;
  /** Where the console's output goes of a container whose init is PID 1; undefined for an application. */
  readonly systemLog: string | undefined;
  readonly env: Readonly<Record<string, string>>;
  readonly workingDir: string;
  readonly cgroup: readonly LxcEntry[];
  readonly network: ContainerPlace;
};

/** What applications in the wild need of root's abilities inside their own container. Every one holds within the user
 * namespace alone. Left out against Docker's set: mknod, audit_write, net_raw (address spoofing on the bridge). */
const capabilities = [
  "chown",
  "dac_override",
  "fowner",
  "fsetid",
  "kill",
  "net_bind_service",
  "setfcap",
  "setgid",
  "setpcap",
  "setuid",
  "sys_chroot",
];

/** Files of the kernel that tell about the host or its other containers; the same list as Docker's and podman's. */
const maskedFiles = [
  "proc/interrupts",
  "proc/kcore",
  "proc/keys",
  "proc/latency_stats",
  "proc/sched_debug",
  "proc/timer_list",
  "proc/timer_stats",
];
const maskedDirectories = [
  "proc/acpi",
  "proc/asound",
  "proc/scsi",
  "sys/firmware",
  "sys/devices/virtual/powercap",
];
/** Beside /proc/sys and /proc/sysrq-trigger, which LXC protects. Their files belong to the host's root as well. */
const readOnlyDirectories = ["proc/bus", "proc/fs", "proc/irq"];

const SHM_SIZE = "64m";
/** Terminals of one container. The node has room for those of a thousand: host/kernel-limits.ts. */
const TERMINALS_MAX = 64;

const applicationEntries: readonly LxcEntry[] = [
  ["lxc.no_new_privs", "1"],
  ["lxc.cap.keep", capabilities.join(" ")],
  ["lxc.console.path", "none"],
  // The container has no CAP_SYS_ADMIN, so it cannot make any of these writable again. The cgroup files are there
  // because runtimes such as Java size themselves by them.
  ["lxc.mount.auto", "proc:mixed sys:ro cgroup:ro:force"],
];

/** What no init needs in its user namespace. */
const withheld = [
  "audit_control",
  "block_suspend",
  "bpf",
  "mac_admin",
  "mac_override",
  "net_admin",
  "net_raw",
  "perfmon",
  "sys_module",
  "sys_rawio",
  "sys_time",
  "syslog",
  "wake_alarm",
];

/** As LXC's own common.conf and userns.conf have it: an init may do in its user namespace what root does on a machine,
 * but for what is not the namespace's, and but for its network, which others share. Its part of the control groups is
 * its own. */
function systemEntries(log: string): readonly LxcEntry[] {
  return [
    ["lxc.cap.drop", withheld.join(" ")],
    ["lxc.console.logfile", log],
    ["lxc.mount.auto", "proc:mixed sys:mixed cgroup:mixed"],
  ];
}

export function containerEntries(config: ContainerConfig): readonly LxcEntry[] {
  const { cgroup, network, idBase } = config;
  return [
    ["lxc.rootfs.path", `dir:${config.rootfs}`],
    ["lxc.uts.name", config.hostname],
    ["lxc.idmap", `u 0 ${idBase} ${ID_RANGE_SIZE}`],
    ["lxc.idmap", `g 0 ${idBase} ${ID_RANGE_SIZE}`],
    ...(config.systemLog === undefined ? applicationEntries : systemEntries(config.systemLog)),
    ["lxc.seccomp.profile", config.seccompProfile],
    ["lxc.net.0.type", "veth"],
    ["lxc.net.0.link", network.bridge],
    ["lxc.net.0.flags", "up"],
    ["lxc.net.0.name", "eth0"],
    ["lxc.net.0.hwaddr", network.mac],
    ["lxc.net.0.veth.pair", network.hostInterface],
    ["lxc.net.0.ipv4.address", network.addressWithPrefix],
    ["lxc.net.0.ipv4.gateway", network.gateway],
    ...ipv6Entries(network),
    ["lxc.autodev", "1"],
    ["lxc.tty.max", "0"],
    ["lxc.pty.max", String(TERMINALS_MAX)],
    [
      "lxc.mount.entry",
      `tmpfs dev/shm tmpfs nosuid,nodev,mode=1777,size=${SHM_SIZE},create=dir 0 0`,
    ],
    ...maskedFiles.map((path) => mountEntry(`/dev/null ${path} none bind,optional`)),
    ...maskedDirectories.map((path) => mountEntry(`tmpfs ${path} tmpfs ro,size=0,optional`)),
    ...readOnlyDirectories.map((path) =>
      mountEntry(`${path} ${path} none bind,ro,relative,optional`),
    ),
    ...cgroup,
    ["lxc.init.cwd", config.workingDir],
    ...Object.entries(config.env).map(([name, value]): LxcEntry => [
      "lxc.environment",
      `${name}=${value}`,
    ]),
  ];
}

function ipv6Entries({ ipv6 }: ContainerPlace): readonly LxcEntry[] {
  if (ipv6 === undefined) return [];
  return [
    ["lxc.net.0.ipv6.address", ipv6.addressWithPrefix],
    ["lxc.net.0.ipv6.gateway", ipv6.gateway],
  ];
}

function mountEntry(text: string): LxcEntry {
  return ["lxc.mount.entry", `${text} 0 0`];
}
