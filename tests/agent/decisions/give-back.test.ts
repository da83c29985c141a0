import { spawn } from "node:child_process";
import { once } from "node:events";
import { copyFileSync, readFileSync } from "node:fs";
import { join } from "node:path";

import { syncFile } from "@strata/agent/durable-file";
import { createQuietWork, giveBackCode } from "@strata/agent/host/give-back";

import { assert, rejectsWithCode, suite } from "../../support/suite.ts";
import { aTemporaryDirectory } from "../../support/temporary.ts";

/** What of the program's own file is in its memory. */
function readCodeKib(pid: number, program: string): number {
  const areas = readFileSync(`/proc/${pid}/smaps`, "utf8").split(/^(?=[0-9a-f]+-)/m);
  return areas
    .filter((area) => area.split("\n", 1)[0]?.endsWith(program) === true)
    .reduce((sum, area) => sum + Number(/^Rss:\s+(\d+) kB$/m.exec(area)?.[1]), 0);
}

suite("memory that a program does not need", (test) => {
  test("is given back, and the program goes on", async () => {
    await using folder = aTemporaryDirectory();
    // A file of its own: what others use too stays.
    const program = join(folder.path, "perl");
    copyFileSync("/usr/bin/perl", program);
    // What is not on the disk yet cannot go.
    await syncFile(program);
    const script = '$| = 1; print "up"; while (<STDIN>) { print "here" }';
    const child = spawn(program, ["-e", script], { stdio: ["pipe", "pipe", "inherit"] });
    const pid = child.pid ?? 0;
    await once(child.stdout, "data");
    const before = readCodeKib(pid, program);
    // The kernel passes over pages that it is busy with.
    for (let attempt = 0; attempt < 20 && readCodeKib(pid, program) > before / 2; attempt += 1) {
      await giveBackCode(pid);
    }
    const after = readCodeKib(pid, program);
    assert.ok(after <= before / 2, `${after} of ${before} KiB`);
    child.stdin.write("there?\n");
    assert.is(String(await once(child.stdout, "data")), "here");
    child.kill("SIGKILL");
    await once(child, "exit");
  });

  test("is not taken from a process that is gone", async () => {
    await rejectsWithCode(giveBackCode(2 ** 22 + 1), "TOOL_FAILED");
  });
});

suite("work for a quiet time", (test) => {
  test("is done once after something happened, and again only after something more", async () => {
    const { promise, resolve } = Promise.withResolvers<void>();
    let runs = 0;
    const quiet = createQuietWork({
      work: () => {
        runs += 1;
        resolve();
        return Promise.resolve();
      },
      quietMs: 1,
      restMs: 1,
    });
    assert.is(runs, 0);
    quiet.stir();
    quiet.stir();
    // Its own timers keep nothing alive.
    const alive = setInterval(() => undefined, 1000);
    await promise;
    clearInterval(alive);
    assert.is(runs, 1);
  });
});
