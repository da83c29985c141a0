import { createHash } from "node:crypto";
import { mkdirSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";

import { agentPaths, processPaths } from "@strata/agent/paths";

import { assert, suite } from "../../support/suite.ts";
import { aTemporaryDirectory } from "../../support/temporary.ts";
import { anExec } from "../support/exec-connection.ts";
import { aHostileContainer, perlOnHost, sortAttempts } from "../support/hostile-container.ts";

function hashOf(path: string): string {
  return createHash("sha256").update(readFileSync(path)).digest("hex");
}

suite("a hostile process and files", (test) => {
  test("reaches neither the host's files nor those of others", async () => {
    await using marker = aTemporaryDirectory();
    writeFileSync(join(marker.path, "host-secret"), "s");
    await using hostile = await aHostileContainer();
    const { config } = hostile.node;
    await hostile.perlNextDoor(`attempt("write", sub { open(my $f, ">", "/root/secret") })`);
    const { scratch, run, record } = processPaths(agentPaths(config), "other-1");
    const reads = (paths: readonly string[]): string =>
      paths
        .map((path) => `attempt("${path}", sub { open(my $f, "<", "${path}") });\n`)
        .concat("attempt('/nonexistent', sub { 0 });")
        .join("");
    const paths = [join(marker.path, "host-secret"), join(scratch, "upper/root/secret"), record];
    assert.equal(sortAttempts(perlOnHost(reads(paths))).done, paths);
    const ways = ["", "/proc/1/root", "/proc/self/root", "/proc/self/cwd/../../..", "/dev/fd/0/.."];
    const tried = ways.flatMap((way) => [...paths, join(run, "config")].map((path) => way + path));
    assert.equal(sortAttempts(await hostile.perl(reads(tried))).done, []);
  });

  test("has user ids that no other process has, in folders for the host's root alone", async () => {
    await using hostile = await aHostileContainer();
    const ownIds = `open(my $f, "<", "/proc/self/uid_map"); print((split " ", <$f>)[1])`;
    const [first, second] = [await hostile.perl(ownIds), await hostile.perlNextDoor(ownIds)];
    assert.ok(Math.abs(Number(first) - Number(second)) >= 65_536);
    assert.ok(Math.min(Number(first), Number(second)) >= 65_536);
    const { data, run } = agentPaths(hostile.node.config);
    for (const path of [data, run]) assert.is(statSync(path).mode & 0o777, 0o700);
  });

  test("changes a layer for nobody but itself", async () => {
    let layer = "";
    const change = (folder: string): void => {
      layer = folder;
      writeFileSync(join(folder, "shared"), "as it was");
    };
    await using hostile = await aHostileContainer({ change });
    const write = `attempt("write", sub { open(my $o, ">", "/shared"); print $o "mine" });
      open(my $f, "<", "/shared"); print <$f>;`;
    assert.is(await hostile.perl(write), "write: done\nmine");
    assert.is(await hostile.perlNextDoor(`open(my $f, "<", "/shared"); print <$f>`), "as it was");
    assert.is(readFileSync(join(layer, "shared"), "utf8"), "as it was");
  });

  test("learns no path of the host from its mounts", async () => {
    await using hostile = await aHostileContainer();
    const mounts = await hostile.shell("cat /proc/self/mountinfo");
    assert.match(mounts, / \/ \/ .* overlay /);
    assert.not.match(mounts, /strata|\/tmp|\/var\/lib/);
  });

  test("mounts, remounts and uncovers nothing", async () => {
    const program = String.raw`
      my ($none, $proc, $sys, $tmp, $type) = ("none", "/proc", "/sys", "/tmp", "tmpfs");
      attempt("mount", sub { !syscall(number(165, 40), $none, $tmp, $type, 0, 0) });
      attempt("remount", sub { !syscall(number(165, 40), $none, $sys, $type, 32 | 4096, 0) });
      attempt("bind", sub { !syscall(number(165, 40), $proc, $tmp, $none, 4096, 0) });
      attempt("uncover", sub { !syscall(number(166, 39), $proc . "/keys", 2) });
      attempt("chroot out", sub {
        mkdir "/tmp/jail"; chroot "/tmp/jail" or return 0;
        chdir ".." for 1 .. 50; chroot "." or return 0;
        return -e "/etc/machine-id" || -e "/work";
      });`;
    await using hostile = await aHostileContainer();
    assert.equal(sortAttempts(await hostile.perl(program)).done, []);
  });

  test("finds the image's files protected where that is wished for, and memory to write to", async () => {
    await using hostile = await aHostileContainer({
      spec: {
        readOnly: true,
        volumes: [{ kind: "tmpfs", path: "/data", sizeBytes: 1024 ** 2 }],
      },
    });
    const files = ["/new", "/etc/passwd", "/bin/new", "/root/new", "/etc/hosts"];
    const folders = ["/tmp", "/run", "/var/tmp", "/dev/shm", "/data"];
    const writes = [...files, ...folders.map((folder) => `${folder}/new`)]
      .map((path) => `attempt("${path}", sub { open(my $f, ">", "${path}") });`)
      .join("\n");
    const { done, refused } = sortAttempts(await hostile.perl(writes));
    assert.equal(
      done,
      folders.map((folder) => `${folder}/new`),
    );
    assert.equal(
      refused,
      files.map((path) => `${path}: Read-only file system`),
    );
  });
});

/** Looks at every other process of the container as long as it can see new ones: at its program, and at what it holds
 * open. Ends when /tmp/enough is there. */
const watcher = String.raw`
my ($marker) = @ARGV;
my %found;
until (-e "/tmp/enough") {
  opendir(my $all, "/proc") or die;
  for my $pid (grep { /^\d+$/ && $_ != $$ } readdir $all) {
    $found{"saw a program"} = 1 if defined readlink "/proc/$pid/exe";
    my $program = readlink("/proc/$pid/exe") // "";
    if (open(my $file, "+<", "/proc/$pid/exe")) {
      my ($device) = stat $file;
      my ($own) = stat "/bin/perl";
      $found{"overwrites $program"} = 1 if $program =~ /lxc/;
    }
    $found{"enters $program"} = 1 if -e "/proc/$pid/root$marker" || -e "/proc/$pid/cwd$marker";
    opendir(my $handles, "/proc/$pid/fd") or next;
    for my $handle (grep { /^\d+$/ } readdir $handles) {
      my $path = "/proc/$pid/fd/$handle";
      $found{"leaves by handle $handle"} = 1 if -e "$path/../../../../../../../../..$marker";
      my $target = readlink $path;
      $found{"handle of $target"} = 1 if defined $target && $target =~ m{strata|/sys/|/run/|/var/};
    }
  }
}
print "$_\n" for sort keys %found;
`;

suite("a hostile container that a command is run in", (test) => {
  test("overwrites no program of the host, and finds no handle that leads out", async () => {
    const programs = ["/usr/bin/lxc-attach", "/usr/bin/lxc-execute", "/usr/sbin/init.lxc.static"];
    const before = programs.map(hashOf);
    await using marker = aTemporaryDirectory();
    // What is asked for runs whatever the tools of the host are at that moment.
    await using hostile = await aHostileContainer({
      change: (layer) => {
        mkdirSync(join(layer, "evil"));
        writeFileSync(join(layer, "evil/self"), "#!/proc/self/exe\n", { mode: 0o755 });
      },
    });
    const watching = anExec(hostile.node, {
      command: ["perl", "-e", watcher, "--", marker.path],
    });
    for (let index = 0; index < 10; index += 1) {
      await anExec(hostile.node, { command: ["/evil/self"] }).result;
      await anExec(hostile.node, { command: ["/proc/self/exe", "-n", "x"] }).result;
      await anExec(hostile.node, { command: ["true"], tty: true }).result;
    }
    await hostile.shell("touch /tmp/enough; echo ok");
    assert.is((await watching.result).stdout, "saw a program\n");
    assert.equal(programs.map(hashOf), before);
  });

  test("cannot write to its own first program, which is the host's", async () => {
    const program = `attempt("init", sub { can_write("/proc/1/exe") });
      attempt("link", sub { readlink "/proc/1/exe" });`;
    await using hostile = await aHostileContainer();
    assert.equal(sortAttempts(await hostile.perl(program)).done, []);
  });

  test("has no hold on a command by its files, its environment or its user list", async () => {
    const spoiled = "rm -f /etc/passwd /etc/group; busybox mkfifo /etc/passwd /etc/group";
    const preloads = "echo /evil.so > /etc/ld.so.preload; echo x > /evil.so";
    await using hostile = await aHostileContainer({
      spec: {
        env: { LD_PRELOAD: "/evil.so", LD_LIBRARY_PATH: "/evil", BASH_ENV: "/evil", ENV: "/e" },
      },
    });
    await hostile.shell(`${spoiled}; ${preloads}; busybox mkfifo /e; echo ok`);
    const { result } = anExec(hostile.node, { command: ["grep", "Uid", "/proc/self/status"] });
    assert.is((await result).stdout, "Uid:\t0\t0\t0\t0\n");
  });
});
