import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";

import { waitFor } from "../../scripts/instance/wait.ts";
import { root } from "../../scripts/root.ts";
import { assert, suite } from "../support/suite.ts";
import { aTemporaryDirectory } from "../support/temporary.ts";

type Supervised = AsyncDisposable & {
  readonly process: ChildProcess;
  /** The content of a file that appears, or changes from `previous`. */
  readonly read: (name: string, previous?: string) => Promise<string>;
  readonly exists: (name: string) => boolean;
  readonly folder: string;
};

function supervise(script: string): Supervised {
  const folder = aTemporaryDirectory();
  const process_ = startIn(folder.path, script);
  return {
    process: process_,
    folder: folder.path,
    exists: (name) => existsSync(join(folder.path, name)),
    read: async (name, previous = "") => {
      const path = join(folder.path, name);
      const text = await waitFor(
        () => {
          const now = existsSync(path) ? readFileSync(path, "utf8") : "";
          return Promise.resolve(now === previous ? undefined : now);
        },
        { timeoutMs: 15_000 },
      );
      if (text === undefined) throw new Error(`${name} did not change`);
      return text;
    },
    [Symbol.asyncDispose]: async () => {
      await end(process_);
      await folder[Symbol.asyncDispose]();
    },
  };
}

function startIn(folder: string, script: string): ChildProcess {
  const log = join(folder, "log");
  return spawn(join(root, "scripts/supervise"), ["job", folder, log, "sh", "-c", script], {
    stdio: "ignore",
  });
}

async function end(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  child.kill("SIGTERM");
  await once(child, "exit");
}

const isAlive = (pid: string): boolean => existsSync(`/proc/${pid.trim()}`);

suite("scripts/supervise", (test) => {
  test("starts a killed command again, and says how it ended", async () => {
    await using job = supervise("echo begun; exec sleep 1000");
    const first = await job.read("job.pid");
    process.kill(Number(first), "SIGKILL");
    const second = await job.read("job.pid", first);
    assert.is.not(second, first);
    assert.not(isAlive(first));
    assert.is((await job.read("job.ended")).trim(), "137");
    assert.match(await job.read("log"), "job ended with status 137");
  });

  test("waits longer each time when the command ends at once", async () => {
    await using job = supervise("exit 3");
    const first = await job.read("log");
    // In whole seconds: a short life may stand across the change of one.
    assert.match(first, /ended with status 3 after [01] s; next start in 0 s/);
    const pauses = (text: string): readonly string[] =>
      [...text.matchAll(/next start in (\d+) s/g)].map(([, pause = ""]) => pause);
    let log = first;
    while (pauses(log).length < 3) log = await job.read("log", log);
    assert.equal(pauses(log).slice(0, 3), ["0", "1", "3"]);
  });

  test("stops the command when it is told to stop, and leaves no file but the log", async () => {
    await using job = supervise("exec sleep 1000");
    const pid = await job.read("job.pid");
    await end(job.process);
    assert.not(isAlive(pid));
    assert.equal(
      ["job.pid", "job.supervisor", "job.ended"].filter((name) => job.exists(name)),
      [],
    );
  });

  test("leaves a command alone that another one keeps already", async () => {
    await using job = supervise("exec sleep 1000");
    const pid = await job.read("job.pid");
    const second = startIn(job.folder, "exec sleep 2000");
    const [code]: unknown[] = await once(second, "exit");
    assert.is(code, 0);
    assert.is(await job.read("job.pid"), pid);
    assert.ok(isAlive(pid));
  });

  test("gives the command none of its own descriptors", async () => {
    await using job = supervise("ls -l /proc/self/fd; exec sleep 1000");
    const log = await job.read("log");
    assert.not.match(log, "job.lock");
  });
});
