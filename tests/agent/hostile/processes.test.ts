import { readFileSync } from "node:fs";

import { assert, suite } from "../../support/suite.ts";
import { anExec } from "../support/exec-connection.ts";
import { aHostileContainer, perlOnHost, sortAttempts } from "../support/hostile-container.ts";

suite("a hostile process and other processes", (test) => {
  test("sees and signals those of its own container alone", async () => {
    await using hostile = await aHostileContainer();
    const pid = hostile.node.report("other-1")?.pid ?? 0;
    const signal = `attempt("signal", sub { kill 0, ${pid} });
      attempt("look", sub { -e "/proc/${pid}/stat" });`;
    assert.equal(sortAttempts(perlOnHost(signal)).refused, []);
    assert.equal(sortAttempts(await hostile.perl(signal)).done, []);
    const seen = await hostile.shell("cat /proc/[0-9]*/cmdline | busybox tr '\\0' ' '");
    assert.not.match(seen, /node|systemd|lxc-execute|perl/);
  });

  test("that signals everybody ends itself alone", async () => {
    await using hostile = await aHostileContainer();
    const before = hostile.node.report("other-1");
    void hostile.perl("kill 'KILL', -1; print 'done';").catch(() => undefined);
    await hostile.node.until("web-1", ({ lastExit }) => lastExit !== undefined);
    assert.is(await hostile.perlNextDoor("print 'here'"), "here");
    assert.equal(hostile.node.report("other-1")?.pid, before?.pid);
  });

  test("shares no memory, queue or semaphore with others", async () => {
    await using hostile = await aHostileContainer();
    // shmget(0x51, 4096, IPC_CREAT | 0666), then without IPC_CREAT.
    const make = "attempt('make', sub { defined shmget(0x51, 4096, 01666) })";
    const find = "attempt('find', sub { defined shmget(0x51, 4096, 0666) })";
    assert.is(await hostile.perl(make), "make: done\n");
    assert.is(await hostile.perl(find), "find: done\n");
    assert.is(await hostile.perlNextDoor(find), "find: No such file or directory\n");
  });
});

suite("a hostile process and control groups", (test) => {
  test("leaves its group neither by files nor by a new view of them", async () => {
    const program = String.raw`
      opendir(my $groups, "/sys/fs/cgroup") or die;
      my @roots = ("/sys/fs/cgroup", map { "/sys/fs/cgroup/$_" } grep { !/^\./ } readdir $groups);
      for my $root (grep { -e "$_/cgroup.procs" } @roots) {
        attempt("procs of $root", sub { can_write("$root/cgroup.procs") });
        attempt("group in $root", sub { mkdir "$root/evil" });
        attempt("procs above $root", sub { can_write("$root/../cgroup.procs") }) if -e "$root/../cgroup.procs";
        for my $file (qw(release_agent notify_on_release devices.allow memory.limit_in_bytes memory.max
            pids.max cgroup.subtree_control)) {
          next if !-e "$root/$file";
          attempt("$file of $root", sub { can_write("$root/$file") });
        }
      }
      my ($none, $at, $type, $what) = ("none", "/tmp", "cgroup", "memory");
      attempt("mount", sub { !syscall(number(165, 40), $none, $at, $type, 0, $what) });`;
    await using hostile = await aHostileContainer();
    const { done, refused } = sortAttempts(await hostile.perl(program));
    assert.equal(done, []);
    assert.ok(refused.length > 3);
    const groups = readFileSync("/proc/mounts", "utf8").split("\n");
    const roots = groups.flatMap((line) => / (\S+) cgroup2? /.exec(line)?.[1] ?? []);
    const control = roots
      .map((root) => `attempt("${root}", sub { can_write("${root}/cgroup.procs") });`)
      .join("");
    assert.equal(sortAttempts(perlOnHost(control)).refused, []);
  });

  test("learns nothing of the groups above its own", async () => {
    await using hostile = await aHostileContainer();
    const groups = (await hostile.shell("cat /proc/2/cgroup")).trim().split("\n");
    for (const line of groups) assert.match(line, /^\d+:[^:]*:\/$/);
  });
});

/** Types a line into a terminal, for whoever reads from it next. */
const typeInto = String.raw`
  attempt("type", sub {
    my $sent = 0;
    for my $key (split //, "echo typed\n") { $sent += defined ioctl(STDIN, 0x5412, $key); }
    return $sent == 11;
  });`;

suite("a hostile process and terminals", (test) => {
  test("types nothing into the terminal of a command, for the one who reads after it", async () => {
    await using hostile = await aHostileContainer();
    const session = anExec(hostile.node, { command: ["sh"], tty: true });
    session.send(
      "stdin",
      "perl -e 'my $k = \"x\"; print defined ioctl(STDIN, 0x5412, $k) ? 1 : $!'\n",
    );
    await session.untilOutput("Operation not permitted");
    session.send("stdin", "exit 3\n");
    assert.is((await session.result).code, 3);
    // On the host, with a terminal of its own, where the kernel has not forbidden it for all.
    const terminal = String.raw`
      sub in_terminal {
        sysopen(my $master, "/dev/ptmx", 2 | 0400) or die "$!\n";
        my ($unlock, $number) = (pack("i", 0), pack("I", 0));
        ioctl($master, 0x40045431, $unlock); ioctl($master, 0x80045430, $number);
        my $child = fork();
        return waitpid($child, 0) if $child;
        syscall(number(112, 157));
        sysopen(STDIN, "/dev/pts/" . unpack("I", $number), 2) or die "$!\n";
        ioctl(STDIN, 0x540e, 0);
        ${typeInto}
        exit 0;
      }
      in_terminal();`;
    const isAllowed = readFileSync("/proc/sys/dev/tty/legacy_tiocsti", "utf8") === "1\n";
    if (isAllowed) assert.is(perlOnHost(terminal), "type: done\n");
  });
});
