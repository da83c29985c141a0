/** System calls that containers do not get, in LXC's own format. The kernel checks most of them by capability as well;
 * refused here they also reach no bug. Making namespaces is refused because a new user namespace hands out every
 * capability again, and clone3 hides its flags behind a pointer (ENOSYS, errno 38, makes the C library use clone). */
const refused: readonly string[] = [
  "acct",
  "add_key",
  "bpf",
  "clock_adjtime",
  "clock_settime",
  "delete_module",
  "fanotify_init",
  "finit_module",
  "fsconfig",
  "fsmount",
  "fsopen",
  "fspick",
  "init_module",
  "io_uring_enter",
  "io_uring_register",
  "io_uring_setup",
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
  "perf_event_open",
  "pivot_root",
  "process_vm_readv",
  "process_vm_writev",
  "quotactl",
  "reboot",
  "request_key",
  "setns",
  "settimeofday",
  "swapoff",
  "swapon",
  "syslog",
  "umount2",
  "unshare",
  "userfaultfd",
  "vhangup",
];

/** CLONE_NEWNS, NEWCGROUP, NEWUTS, NEWIPC, NEWUSER, NEWPID and NEWNET. */
const namespaceFlags = [
  0x20000, 0x2000000, 0x4000000, 0x8000000, 0x10000000, 0x20000000, 0x40000000,
];

export const seccompProfile = [
  "2",
  "denylist",
  "[all]",
  ...refused.map((name) => `${name} errno 1`),
  "clone3 errno 38",
  ...namespaceFlags.map((flag) => `clone errno 1 [0,${flag},SCMP_CMP_MASKED_EQ,${flag}]`),
  "",
].join("\n");
