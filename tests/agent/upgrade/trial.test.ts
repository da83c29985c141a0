import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";

import { createLogger } from "@strata/agent/logger";
import { hashFile, RUNNING_PROGRAM } from "@strata/agent/upgrade/program";
import { resumeUpgrade } from "@strata/agent/upgrade/resume-upgrade";
import { tryProgram } from "@strata/agent/upgrade/trial";
import {
  readUpgradeRecord,
  type UpgradeRecord,
  writeUpgradeRecord,
} from "@strata/agent/upgrade/upgrade-record";

import { aSmallDisk } from "../../support/small-disk.ts";
import { assert, suite } from "../../support/suite.ts";
import { aTemporaryDirectory } from "../../support/temporary.ts";

type Scene = AsyncDisposable & {
  readonly options: Parameters<typeof tryProgram>[0];
  readonly installed: () => string;
  readonly record: () => UpgradeRecord | undefined;
};

/** An agent whose replacement does what the shell says in `run`. */
function aScene(run: string, parent?: string): Scene {
  const folder = aTemporaryDirectory(parent);
  const file = join(folder.path, "agent");
  const program = { file, fresh: `${file}.new`, old: `${file}.old` };
  writeFileSync(program.file, "old");
  writeFileSync(program.fresh, `#!/bin/sh\n${run}\n`, { mode: 0o755 });
  const recordPath = join(folder.path, "upgrade.json");
  const proofPath = join(folder.path, "proof");
  return {
    options: {
      program,
      record: { version: 1, id: "u-1", sha256: "0".repeat(64), state: "staged" },
      recordPath,
      proofPath,
      argv: ["run"],
      environment: { PATH: "/usr/bin:/bin", PROOF: proofPath, GONE: join(folder.path, "gone") },
      logger: createLogger("silent"),
      signal: new AbortController().signal,
    },
    installed: () => readFileSync(program.file, "utf8"),
    record: () => readUpgradeRecord(recordPath, createLogger("silent")),
    [Symbol.asyncDispose]: () => folder[Symbol.asyncDispose](),
  };
}

suite("a new agent on trial", (test) => {
  test("takes the place of the old one, which stays beside it, once it has proved itself", async () => {
    await using scene = aScene(
      'trap ": > $GONE; exit 0" TERM; : > "$PROOF"; while :; do sleep 0.1; done',
    );
    const { options } = scene;
    assert.is(await tryProgram(options), true);
    assert.match(scene.installed(), /PROOF/);
    assert.is(readFileSync(options.program.old, "utf8"), "old");
    assert.is(scene.record()?.state, "installed");
    assert.ok(existsSync(options.environment["GONE"] ?? ""), "it was told to end");
    assert.not(existsSync(options.proofPath));
  });

  test("is not installed when it ends, and why is kept", async () => {
    await using scene = aScene("exit 7");
    assert.is(await tryProgram(scene.options), false);
    assert.is(scene.installed(), "old");
    assert.not(existsSync(scene.options.program.fresh));
    const { state, reason } = scene.record() ?? {};
    assert.is(state, "rolledBack");
    assert.match(reason ?? "", /ended with 7 before it had reported/);
  });

  test("is not installed when it does not report in time", async () => {
    await using scene = aScene("exec sleep 600");
    assert.is(await tryProgram({ ...scene.options, trialMs: 300 }), false);
    assert.is(scene.installed(), "old");
    assert.match(scene.record()?.reason ?? "", /had not reported after 0.3 s/);
  });

  test("is given up when the agent that tries it is told to end", async () => {
    await using scene = aScene("exec sleep 600");
    assert.is(await tryProgram({ ...scene.options, signal: AbortSignal.abort() }), false);
    assert.is(scene.installed(), "old");
  });
});

suite("an agent that starts with an upgrade under way", (test) => {
  const resume = async (
    scene: Scene,
    record: Partial<UpgradeRecord>,
    environment: Readonly<Record<string, string>> = {},
  ): Promise<string> => {
    const { options } = scene;
    await writeUpgradeRecord(options.recordPath, { ...options.record, ...record });
    const all = { ...options.environment, ...environment };
    return await resumeUpgrade({ ...options, environment: all });
  };

  test("tries what is staged, and ends when that was installed", async () => {
    await using good = aScene(': > "$PROOF"; exec cat');
    assert.is(await resume(good, { state: "staged" }), "end");
    await using bad = aScene("exit 1");
    assert.is(await resume(bad, { state: "staged" }), "go on");
    assert.is(bad.record()?.state, "rolledBack");
  });

  test("takes a trial that was cut off for failed, or for done when it runs the new program", async () => {
    await using scene = aScene("exit 1");
    assert.is(await resume(scene, { state: "trial" }), "go on");
    assert.match(scene.record()?.reason ?? "", /cut off/);
    const sha256 = await hashFile(RUNNING_PROGRAM);
    assert.is(await resume(scene, { state: "trial", sha256 }), "go on");
    assert.is(scene.record()?.state, "installed");
  });

  test("tries nothing when it is on trial itself, or its record is damaged", async () => {
    await using scene = aScene("exit 1");
    assert.is(await resume(scene, { state: "trial" }, { STRATA_UPGRADE_TRIAL: "1" }), "go on");
    assert.is(scene.record()?.state, "trial");
    writeFileSync(scene.options.recordPath, "{");
    assert.is(await resumeUpgrade(scene.options), "go on");
  });

  test("goes on when its disk takes nothing, and does not try again", async () => {
    await using disk = aSmallDisk(64 * 1024);
    await using scene = aScene(': > "$PROOF"; exec cat', disk.path);
    await writeUpgradeRecord(scene.options.recordPath, scene.options.record);
    const filler = join(disk.path, "filler");
    assert.throws(() => writeFileSync(filler, Buffer.alloc(1024 * 1024)), /ENOSPC/);
    assert.is(await resumeUpgrade(scene.options), "go on");
    assert.is(scene.installed(), "old");
    assert.not(existsSync(scene.options.program.fresh));
  });
});
