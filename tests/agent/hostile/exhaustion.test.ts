import { execFileSync } from "node:child_process";
import { statSync } from "node:fs";
import { setTimeout as delay } from "node:timers/promises";

import { agentPaths, processPaths } from "@strata/agent/paths";

import { assert, suite } from "../../support/suite.ts";
import { aHostileContainer, perlOnHost, sortAttempts } from "../support/hostile-container.ts";

/** Takes as much as it gets, holds it, and lets others try meanwhile. */
async function whileTaking(
  take: string,
  { tries, most }: { readonly tries: string; readonly most: number },
): Promise<void> {
  await using hostile = await aHostileContainer();
  // Opened beforehand: of handles it may take all.
  const begin = "my $n = 0; open(my $count, '>', '/tmp/counting') or die;";
  const hold = "print $count $n; close $count; rename '/tmp/counting', '/tmp/taken'; sleep 3600;";
  void hostile.perl(`${begin} ${take} ${hold}`).catch(() => undefined);
  const taken = await untilTaken(() => hostile.shell("cat /tmp/taken || echo none"));
  assert.ok(taken > 0 && taken <= most, `${taken} were taken`);
  const attempt = `attempt("take", sub { ${tries} });`;
  assert.equal(sortAttempts(await hostile.perlNextDoor(attempt)).refused, [], "next door");
  assert.equal(sortAttempts(perlOnHost(attempt)).refused, [], "on the host");
}

async function untilTaken(look: () => Promise<string>): Promise<number> {
  for (;;) {
    const text = (await look()).trim();
    if (/^\d+$/.test(text)) return Number(text);
    await delay(50);
  }
}

suite("a hostile process that takes all it gets", (test) => {
  test("of processes, stays within its own limit", async () => {
    await using hostile = await aHostileContainer();
    const bomb = `my $n = 0;
      while (defined(my $child = fork())) { if (!$child) { close STDOUT; close STDERR; sleep 3600; exit } $n += 1; }
      print "$n: $!";`;
    const output = await hostile.perl(bomb);
    assert.match(output, /^\d+: Resource temporarily unavailable$/);
    assert.ok(Number.parseInt(output, 10) < 64);
    assert.is(await hostile.perlNextDoor("print fork() ? 'parent' : ''"), "parent");
  });

  test("of memory, is ended, and the next one goes on", async () => {
    const wait = "until [ -e /tmp/go ]; do sleep 0.1; done";
    const take = `exec perl -e 'my @all; while (1) { push @all, "x" x 1048576 }'`;
    await using hostile = await aHostileContainer({
      spec: {
        command: ["sh", "-c", `${wait}; ${take}`],
        limits: { memoryMaxBytes: 64 * 1024 ** 2, cpuMaxMillis: 1000, pidsMax: 64 },
      },
    });
    await hostile.shell("touch /tmp/go; echo ok");
    const { lastExit } = await hostile.node.until(
      "web-1",
      (report) => report.lastExit !== undefined,
    );
    assert.is(lastExit?.reason, "out-of-memory");
    assert.is(await hostile.perlNextDoor("print 'here'"), "here");
  });

  test("of terminals, leaves those of others", async () => {
    await whileTaking(
      `my @all; while (open(my $f, "+<", "/dev/ptmx")) { push @all, $f; $n += 1; }`,
      { tries: `open(my $f, "+<", "/dev/ptmx")`, most: 64 },
    );
  });

  test("of watches on files, leaves those of others", async () => {
    const init = "syscall(number(294, 26), 0) >= 0";
    await whileTaking(
      `for my $process (1 .. 3) {
        next if $process < 3 && fork();
        $n += 1 while ${init};
        sleep 3600 if $process < 3;
      }`,
      { tries: init, most: 1_048_576 },
    );
  });

  test("of asynchronous requests, leaves those of others", async () => {
    const setUp = (count: number): string =>
      `do { my $context = pack "Q", 0; syscall(number(206, 0), ${count}, $context) == 0 }`;
    // Twice what kernels have for all, unless told otherwise.
    await whileTaking(`for (1 .. 4) { $n += 32768 if ${setUp(32_768)}; }`, {
      tries: setUp(128),
      most: 131_072,
    });
  });

  test("of the disk by its output, has it cut", async () => {
    await using hostile = await aHostileContainer({
      environment: { STRATA_LOG_MAX_MIB: "1" },
      spec: { command: ["sh", "-c", "dd if=/dev/zero bs=1048576 count=64; exec sleep 3600"] },
    });
    const log = processPaths(agentPaths(hostile.node.config), "web-1").log;
    while (statSync(log).size < 64 * 1024 ** 2) await delay(50);
    // One line of 64 MiB without an end: what is left of it on the disk is no more than twice the limit.
    while (Number(execFileSync("du", ["-k", log], { encoding: "utf8" }).split("\t")[0]) > 2048) {
      await delay(50);
    }
    assert.is(hostile.node.report("web-1")?.state, "running");
  });
});
