/** System calls that containers do not get, in LXC's own format. The kernel checks most of them by capability as well;
 * refused here they also reach no bug. Docker's list refuses them to a container without capabilities as well; left out
 * are those that place memory on processors, which databases and Java use, and those that today's kernels do not have. Names that the library does not know are
 * passed over by LXC. */
const refused: readonly string[] = [
  "acct",
  "add_key",
  "bpf",
  "clock_adjtime",
  "clock_adjtime64",
  "clock_settime",
  "clock_settime64",
  "delete_module",
  "fanotify_init",
  "finit_module",
  "fsconfig",
  "fsmount",
  "fsopen",
  "fspick",
  "init_module",
  // A second way to make almost every other call, past this filter; most escapes of its years went through it.
  "io_uring_enter",
  "io_uring_register",
  "io_uring_setup",
  "ioperm",
  "iopl",
  "kcmp",
  "kexec_file_load",
  "kexec_load",
  "keyctl",
  "lookup_dcookie",
  "mount",
  "mount_setattr",
  "move_mount",
  "name_to_handle_at",
  "open_by_handle_at",
  "open_tree",
  "open_tree_attr",
  "perf_event_open",
  "pidfd_getfd",
  "pivot_root",
  "process_madvise",
  "process_vm_readv",
  "process_vm_writev",
  "quotactl",
  "quotactl_fd",
  "reboot",
  "request_key",
  "setdomainname",
  "sethostname",
  "setns",
  "settimeofday",
  "stime",
  "swapoff",
  "swapon",
  "syslog",
  "umount",
  "umount2",
  "unshare",
  "userfaultfd",
  "vhangup",
  "vm86",
  "vm86old",
];

/** CLONE_NEWNS, NEWCGROUP, NEWUTS, NEWIPC, NEWUSER, NEWPID and NEWNET, because a new user namespace hands out every
 * capability again. */
const namespaceFlags = [
  0x20000, 0x2000000, 0x4000000, 0x8000000, 0x10000000, 0x20000000, 0x40000000,
];

const [EPERM, ENOSYS, EAFNOSUPPORT] = [1, 38, 97];

/** Sockets are of the families UNIX (1), IPv4 (2), IPv6 (10) and NETLINK (16). All others are code of the kernel that
 * nobody needs: AF_ALG could write into the page cache, which containers share (CVE-2026-31431), and AF_VSOCK leads past
 * the network namespace to the machine's hypervisor. */
const socketFamilyMax = 16;
const refusedFamilies = [3, 4, 5, 6, 7, 8, 9, 11, 12, 13, 14, 15];

/** Options by which a socket takes an address that is not the container's: IP_FREEBIND, which covers IPv6 too and needs
 * no capability, and IPV6_FREEBIND. */
const refusedOptions = [
  [0, 15],
  [41, 78],
] as const;

/** TIOCSTI types into a terminal for whoever reads from it, TIOCLINUX into a console. */
const refusedControls = [0x5412, 0x541c];

/** What an init does with its services, within its own user namespace: it mounts, makes namespaces and reboots. */
const initCalls: ReadonlySet<string> = new Set([
  "fsconfig",
  "fsmount",
  "fsopen",
  "fspick",
  "mount",
  "mount_setattr",
  "move_mount",
  "name_to_handle_at",
  "open_tree",
  "open_tree_attr",
  "pivot_root",
  "reboot",
  "setdomainname",
  "sethostname",
  "setns",
  "umount",
  "umount2",
  "unshare",
  "vhangup",
]);

const common = [
  `socket errno ${EAFNOSUPPORT} [0,${socketFamilyMax},SCMP_CMP_GT]`,
  ...refusedFamilies.map((family) => `socket errno ${EAFNOSUPPORT} [0,${family},SCMP_CMP_EQ]`),
  // What 32-bit programs make sockets with hides the family and the options behind a pointer.
  `socketcall errno ${ENOSYS}`,
  ...refusedOptions.map(
    ([level, option]) => `setsockopt errno ${EPERM} ${equals(1, level)},${equals(2, option)}`,
  ),
  ...refusedControls.map((control) => `ioctl errno ${EPERM} ${equals(1, control)}`),
];

export const seccompProfile = renderProfile([
  ...refused.map((name) => `${name} errno ${EPERM}`),
  // It hides its flags behind a pointer; without it the C library uses clone.
  `clone3 errno ${ENOSYS}`,
  ...namespaceFlags.map((flag) => `clone errno ${EPERM} [0,${flag},SCMP_CMP_MASKED_EQ,${flag}]`),
  ...common,
]);

export const systemSeccompProfile = renderProfile([
  ...refused.filter((name) => !initCalls.has(name)).map((name) => `${name} errno ${EPERM}`),
  ...common,
]);

function renderProfile(rules: readonly string[]): string {
  return ["2", "denylist", "[all]", ...rules, ""].join("\n");
}

/** The kernel looks at 32 bits of such an argument; the filter is shown 64. */
function equals(argument: number, value: number): string {
  return `[${argument},${value},SCMP_CMP_MASKED_EQ,4294967295]`;
}
