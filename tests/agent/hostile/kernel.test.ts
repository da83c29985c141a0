import { execFileSync } from "node:child_process";
import { chmodSync, copyFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";

import { assert, suite } from "../../support/suite.ts";
import { aTemporaryDirectory } from "../../support/temporary.ts";
import { aHostileContainer, perlOnHost, sortAttempts } from "../support/hostile-container.ts";

/** Fails unless all of it is refused in a container, and none of it on the host. */
async function refusesAll(program: string): Promise<void> {
  assert.equal(sortAttempts(perlOnHost(program)).refused, [], "refused on the host too");
  await using hostile = await aHostileContainer();
  const { done, refused } = sortAttempts(await hostile.perl(program));
  assert.equal(done, []);
  assert.ok(refused.length > 0);
}

/** Calls with arguments that do no harm to a host that lets them through. */
const calls = String.raw`
my $text = "/nonexistent";
my %calls = (
  bpf => [number(321, 280), 0, 0, 0],
  perf_event_open => [number(298, 241), 0, 0, -1, -1, 0],
  keyctl => [number(250, 219), 0, -3, 0],
  add_key => [number(248, 217), 0, 0, 0, 0, 0],
  request_key => [number(249, 218), 0, 0, 0, 0],
  userfaultfd => [number(323, 282), -1],
  mount => [number(165, 40), 0, 0, 0, 0, 0],
  umount2 => [number(166, 39), $text, 0],
  pivot_root => [number(155, 41), 0, 0],
  open_tree => [428, -100, 0, 0],
  move_mount => [429, -1, 0, -1, 0, -1],
  fsopen => [430, 0, 0],
  fsmount => [432, -1, 0, 0],
  mount_setattr => [442, -1, 0, -1, 0, 0],
  setns => [number(308, 268), -1, 0],
  open_by_handle_at => [number(304, 265), -1, 0, 0],
  name_to_handle_at => [number(303, 264), -1, 0, 0, 0, 0],
  reboot => [number(169, 142), 0, 0, 0, 0],
  settimeofday => [number(164, 170), 0, 0],
  clock_settime => [number(227, 112), 99, 0],
  swapon => [number(167, 224), 0, -1],
  acct => [number(163, 89), $text],
  quotactl => [number(179, 60), -1, 0, 0, 0],
  syslog => [number(103, 116), 99, 0, 0],
  sethostname => [number(170, 161), 0, -1],
  io_uring_setup => [425, 0, 0],
  process_vm_readv => [number(310, 270), 1, 0, 0, 0, 0, 1],
  process_vm_writev => [number(311, 271), 1, 0, 0, 0, 0, 1],
  pidfd_getfd => [438, -1, 0, 0],
  kcmp => [number(312, 272), $$, $$, 99, 0, 0],
  fanotify_init => [number(300, 262), -1, 0],
);
for my $name (sort keys %calls) { attempt($name, sub { call(@{ $calls{$name} }) }); }
`;

/** That kernels are built without modules and kexec is common, so only the refusal is looked at. */
const callsNotEverywhere = String.raw`
my %calls = (
  init_module => [number(175, 105), 0, 0, 0],
  finit_module => [number(313, 273), -1, 0, 0],
  delete_module => [number(176, 106), 0, 0],
  kexec_load => [number(246, 104), 0, 0, 0, 0],
);
for my $name (sort keys %calls) { attempt($name, sub { call(@{ $calls{$name} }) || $!{ENOSYS} }); }
`;

const namespaces = String.raw`
my %flags = (mount => 0x20000, cgroup => 0x2000000, uts => 0x4000000, ipc => 0x8000000, user => 0x10000000,
  pid => 0x20000000, net => 0x40000000);
for my $name (sort keys %flags) {
  my $child = fork();
  if ($child == 0) { attempt("unshare $name", sub { call(number(272, 97), $flags{$name}) }); exit 0; }
  waitpid($child, 0);
  attempt("clone $name", sub {
    my $pid = syscall(number(56, 220), $flags{$name} | 17, 0, 0, 0, 0);
    if ($pid == 0) { syscall(number(231, 94), 0); }
    waitpid($pid, 0) if $pid > 0;
    return $pid > 0;
  });
}
`;

const settings = String.raw`
my @files = map { "/proc/sys/$_" } qw(kernel/core_pattern kernel/hostname kernel/printk vm/drop_caches
  vm/overcommit_memory fs/file-max net/ipv4/ip_forward net/ipv4/conf/all/proxy_arp);
for my $file (grep { -e $_ } @files, "/proc/sysrq-trigger", "/proc/irq/default_smp_affinity",
  "/sys/kernel/mm/transparent_hugepage/enabled", "/sys/power/state", "/sys/kernel/profiling") {
  attempt($file, sub { can_write($file) });
}
`;

const secrets = String.raw`
for my $file (qw(keys timer_list interrupts slabinfo)) {
  my $path = "/proc/$file";
  next if !-e $path;
  attempt($path, sub {
    open(my $handle, "<", $path) or return 0;
    return defined <$handle>;
  });
}
`;

suite("a hostile process and the kernel", (test) => {
  test("gets none of the system calls that reach beyond a container", async () => {
    await refusesAll(calls);
  });

  test("loads no module and no other kernel", async () => {
    await using hostile = await aHostileContainer();
    const { done } = sortAttempts(await hostile.perl(callsNotEverywhere));
    assert.equal(done, []);
    assert.is(sortAttempts(perlOnHost(callsNotEverywhere)).done.length, 4);
  });

  test("makes no namespace, in which it would have every capability again", async () => {
    await refusesAll(namespaces);
  });

  test("changes no setting of the kernel, not even those of its own network", async () => {
    await refusesAll(settings);
  });

  test("reads nothing that tells of the host's kernel and its other processes", async () => {
    await refusesAll(secrets);
  });

  test("has the same restrictions by exec as the application has", async () => {
    const fields = "grep -E '^(Cap|NoNewPrivs|Seccomp)' /proc/self/status";
    await using hostile = await aHostileContainer();
    const application = await hostile.shell("grep -E '^(Cap|NoNewPrivs|Seccomp)' /proc/2/status");
    assert.is(await hostile.shell(fields), application);
    assert.match(application, /CapBnd:\t00000000800405fb\n[^]*NoNewPrivs:\t1\nSeccomp:\t2\n/);
  });
});

suite("a hostile process and devices", (test) => {
  test("finds the usual seven and terminals of its own, and makes none", async () => {
    await using hostile = await aHostileContainer();
    const found = await hostile.shell("find /dev -type c -o -type b | sort");
    assert.equal(found.trim().split("\n"), [
      ...["full", "null", "ptmx"].map((name) => `/dev/${name}`),
      ...(found.includes("/dev/pts/ptmx") ? ["/dev/pts/ptmx"] : []),
      ...["random", "tty", "urandom", "zero"].map((name) => `/dev/${name}`),
    ]);
    // Block device 8:0, and the host's memory.
    const program = `my $at = "/tmp/device-$$";
      attempt("disk", sub { call(number(133, -1), $at, 060600, 0x800) });
      attempt("memory", sub { call(number(259, 33), -100, $at, 020600, 0x101) });
      unlink $at;`;
    assert.equal(sortAttempts(await hostile.perl(program)).done, []);
    assert.ok(sortAttempts(perlOnHost(program)).done.includes("memory"));
  });

  test("cannot use a device that its image brings along", async () => {
    let layerOnHost = "";
    await using hostile = await aHostileContainer({
      change: (layer) => {
        layerOnHost = layer;
        execFileSync("mknod", ["-m", "666", join(layer, "zero"), "c", "1", "5"]);
      },
    });
    const program = (path: string): string =>
      `attempt("read", sub { open(my $f, "<", "${path}") })`;
    assert.is(await hostile.perl(program("/zero")), "read: Permission denied\n");
    assert.is(perlOnHost(program(join(layerOnHost, "zero"))), "read: done\n");
  });
});

suite("a hostile program of an image", (test) => {
  test("gets no privilege by the setuid bit", async () => {
    const makeSetuid = (folder: string): void => {
      copyFileSync("/bin/cat", join(folder, "cat"));
      chmodSync(join(folder, "cat"), 0o4755);
      writeFileSync(join(folder, "secret"), "read", { mode: 0o600 });
    };
    await using folder = aTemporaryDirectory();
    makeSetuid(folder.path);
    assert.is(asNobody(folder.path, "./cat secret"), "read");
    await using hostile = await aHostileContainer({ spec: { user: "www" }, change: makeSetuid });
    assert.match(await hostile.shell("cd /; ./cat secret 2>&1"), /Permission denied/);
  });

  test("gets no privilege by capabilities of its file", async () => {
    const makeCapable = (folder: string): void => {
      copyFileSync("/bin/cat", join(folder, "cat"));
      execFileSync("setcap", ["cap_dac_override+ep", join(folder, "cat")]);
      writeFileSync(join(folder, "secret"), "read", { mode: 0o600 });
    };
    await using folder = aTemporaryDirectory();
    makeCapable(folder.path);
    assert.is(asNobody(folder.path, "./cat secret"), "read");
    await using hostile = await aHostileContainer({ spec: { user: "www" }, change: makeCapable });
    assert.match(await hostile.shell("cd /; ./cat secret 2>&1"), /Permission denied/);
  });
});

function asNobody(folder: string, line: string): string {
  chmodSync(folder, 0o755);
  const drop = ["--reuid=65534", "--regid=65534", "--clear-groups"];
  return execFileSync("setpriv", [...drop, "sh", "-c", line], { cwd: folder, encoding: "utf8" });
}
