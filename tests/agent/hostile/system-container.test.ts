import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";

import { assert, suite } from "../../support/suite.ts";
import {
  aHostileContainer,
  type HostileContainer,
  perlOnHost,
  sortAttempts,
} from "../support/hostile-container.ts";

/** Its first program is an init, with the rights over its own namespaces that inits need. */
function aSystemContainer(): Promise<HostileContainer> {
  return aHostileContainer({
    spec: { command: ["/bin/busybox", "init"], init: "system" },
    change: (layer) => {
      mkdirSync(join(layer, "etc"), { recursive: true });
      writeFileSync(join(layer, "etc/inittab"), "::respawn:/bin/sleep 3600\n");
    },
  });
}

/** In a view of the settings that it mounted for itself. */
const uncover = String.raw`
  mkdir "/tmp/settings";
  my ($none, $at, $type) = ("none", "/tmp/settings", "proc");
  attempt("uncover", sub { !syscall(number(165, 40), $none, $at, $type, 0, 0) });`;

suite("a hostile system container", (test) => {
  test("has rights over its own namespaces alone, and none over a network that others share", async () => {
    const program = String.raw`
        ${uncover}
        for my $name (qw(kernel/core_pattern vm/overcommit_memory kernel/printk fs/file-max)) {
          attempt($name, sub { can_write("/tmp/settings/sys/$name") });
        }
        attempt("sysrq", sub { can_write("/tmp/settings/sysrq-trigger") });
        attempt("raw", sub { syscall(number(41, 198), 2, 3, 1) >= 0 });
        attempt("packet", sub { syscall(number(41, 198), 17, 3, 0x300) >= 0 });
        attempt("bpf", sub { call(number(321, 280), 0, 0, 0) });
        attempt("memory", sub { call(number(259, 33), -100, my $at = "/tmp/memory", 020600, 0x101) });
        attempt("disk", sub { call(number(259, 33), -100, my $at = "/tmp/disk", 060600, 0x800) });
        opendir(my $groups, "/sys/fs/cgroup") or die;
        for my $root (map { "/sys/fs/cgroup/$_" } grep { !/^\./ } readdir $groups) {
          for my $file (qw(release_agent memory.limit_in_bytes memory.max pids.max devices.allow)) {
            attempt("$root/../$file", sub { can_write("$root/../$file") }) if -e "$root/../$file";
            attempt("$root/$file", sub { can_write("$root/$file") }) if $file eq "release_agent" && -e "$root/$file";
          }
        }`;
    await using hostile = await aSystemContainer();
    assert.equal(sortAttempts(await hostile.perl(program)).done, ["uncover"]);
  });

  test("changes nothing of its network, so it neither answers for others nor sends as another", async () => {
    const program = (root: string): string => String.raw`
        use Socket qw(:all);
        for my $name (qw(ipv4/ip_forward ipv4/ip_nonlocal_bind ipv4/conf/all/proxy_arp ipv6/ip_nonlocal_bind
            ipv6/conf/all/proxy_ndp)) {
          attempt($name, sub { can_write("${root}/sys/net/$name") });
        }
        socket(my $udp, AF_INET6, SOCK_DGRAM, 0) or die;
        attempt("freebind", sub { setsockopt($udp, 0, 15, 1) });
        attempt("transparent", sub { setsockopt($udp, 0, 19, 1) });`;
    assert.equal(sortAttempts(perlOnHost(program("/proc"))).refused, []);
    await using hostile = await aSystemContainer();
    assert.equal(sortAttempts(await hostile.perl(uncover + program("/tmp/settings"))).done, [
      "uncover",
    ]);
    const change = "ip link set eth0 address 02:00:00:00:00:01 2>&1 || echo refused";
    assert.match(await hostile.shell(change), /refused\n$/);
  });

  test("gets no right over its network by namespaces of its own", async () => {
    const program = String.raw`
        my $own = "/proc/$$/ns/user";
        sysopen(my $before, $own, 0) or die;
        attempt("unshare", sub { !syscall(number(272, 97), 0x10000000) });
        attempt("return", sub { !syscall(number(308, 268), fileno $before, 0x10000000) });
        attempt("raw", sub { syscall(number(41, 198), 2, 3, 1) >= 0 });
        attempt("setting", sub { can_write("/proc/sys/net/ipv4/ip_forward") });`;
    await using hostile = await aSystemContainer();
    assert.equal(sortAttempts(await hostile.perl(program)).done, ["unshare"]);
  });
});
