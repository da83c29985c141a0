import { createHash } from "node:crypto";
import { existsSync, readFileSync, statSync, writeFileSync } from "node:fs";
import type { RequestListener } from "node:http";
import { join } from "node:path";

import { createDispatcher } from "@strata/agent/controller-client";
import { createLogger } from "@strata/agent/logger";
import { fetchProgram } from "@strata/agent/upgrade/fetch-program";
import { hashFile, RUNNING_PROGRAM } from "@strata/agent/upgrade/program";
import { proveProgram } from "@strata/agent/upgrade/prove-program";
import { readUpgradeRecord } from "@strata/agent/upgrade/upgrade-record";
import { createUpgrader, type Upgrader } from "@strata/agent/upgrade/upgrader";
import type { UpgradeReport } from "@strata/protocol/agent/upgrade";

import { aLoopbackServer } from "../../support/loopback-server.ts";
import { aSmallDisk } from "../../support/small-disk.ts";
import { assert, suite } from "../../support/suite.ts";
import { aTemporaryDirectory } from "../../support/temporary.ts";

const program = Buffer.alloc(1024 * 1024, "an agent ");
const sha256 = createHash("sha256").update(program).digest("hex");
const serve: RequestListener = (_request, response) => void response.end(program);

/** Why the program was not taken; undefined when it was. `folder` then has it as `new`. */
async function refusalOf(
  listener: RequestListener,
  { folder, wanted = sha256 }: { readonly folder: string; readonly wanted?: string },
): Promise<string | undefined> {
  await using server = await aLoopbackServer(listener);
  const dispatcher = createDispatcher({ url: server.url, caPem: undefined });
  const path = join(folder, "new");
  try {
    await fetchProgram({ controllerUrl: server.url, dispatcher, sha256: wanted, path });
    return undefined;
  } catch (error) {
    assert.ok(error instanceof Error && "code" in error && error.code === "UPGRADE_REFUSED");
    assert.not(existsSync(path), "a part of it was left");
    return error.message;
  } finally {
    await dispatcher.destroy();
  }
}

suite("a new agent that is fetched", (test) => {
  test("is the one whose hash was told, and can be executed", async () => {
    await using folder = aTemporaryDirectory();
    writeFileSync(join(folder.path, "new"), "left by an earlier try");
    assert.is(await refusalOf(serve, { folder: folder.path }), undefined);
    assert.ok(readFileSync(join(folder.path, "new")).equals(program));
    assert.is(statSync(join(folder.path, "new")).mode & 0o777, 0o755);
  });

  test("is refused when it is another one, and leaves no file", async () => {
    await using folder = aTemporaryDirectory();
    const refusal = await refusalOf(serve, { folder: folder.path, wanted: "0".repeat(64) });
    assert.match(refusal ?? "", new RegExp(`has SHA-256 ${sha256}, not 0{64}`));
  });

  test("is refused when the download breaks off, or there is none", async () => {
    await using folder = aTemporaryDirectory();
    const half: RequestListener = (_request, response) => {
      response.writeHead(200, { "content-length": program.length });
      response.write(program.subarray(0, 1000), () => response.destroy());
    };
    assert.match((await refusalOf(half, { folder: folder.path })) ?? "", /could not be fetched/);
    const none: RequestListener = (_request, response) => void response.writeHead(404).end();
    assert.match((await refusalOf(none, { folder: folder.path })) ?? "", /answered 404/);
  });

  test("is refused by a full disk, which has its room back", async () => {
    await using disk = aSmallDisk(256 * 1024);
    assert.match((await refusalOf(serve, { folder: disk.path })) ?? "", /ENOSPC/);
  });
});

suite("a new agent that is asked before it is tried", (test) => {
  const prove = async (script: string): Promise<string> => {
    await using folder = aTemporaryDirectory();
    const file = join(folder.path, "agent");
    writeFileSync(file, script, { mode: 0o755 });
    return await proveProgram(file, { PATH: "/usr/bin:/bin" }).then(
      () => "fit",
      (error: unknown) => String(error),
    );
  };

  test("has to be an agent that can be run here and finds what it needs", async () => {
    const good = "case $1 in version) echo strata-agent 1.2.3 ;; check) true ;; esac";
    assert.is(await prove(`#!/bin/sh\n${good}`), "fit");
    assert.match(await prove("no program"), /is no agent that runs here/);
    assert.match(await prove("#!/bin/sh\necho something else 1.0"), /is no agent that runs here/);
    const unfit = good.replace("true", "echo nft is missing; exit 1");
    assert.match(await prove(`#!/bin/sh\n${unfit}`), /misses something.*nft is missing/);
  });
});

suite("an order for another agent", (test) => {
  type Orders = {
    readonly upgrader: Upgrader;
    readonly untilReport: (state: UpgradeReport["state"]) => Promise<UpgradeReport>;
  };
  const upgraderIn = (folder: string, hasProgram: boolean): Orders => {
    const changed = new Set<() => void>();
    const file = join(folder, "agent");
    const upgrader = createUpgrader({
      program: hasProgram ? { file, fresh: `${file}.new`, old: `${file}.old` } : undefined,
      // Nobody listens on this port: a fetch fails at once.
      controllerUrl: "http://127.0.0.1:1",
      dispatcher: createDispatcher({ url: "http://127.0.0.1:1", caPem: undefined }),
      environment: {},
      logger: createLogger("silent"),
      record: undefined,
      recordPath: join(folder, "upgrade.json"),
      onChange: () => changed.forEach((look) => look()),
      onStaged: () => assert.unreachable("nothing was staged"),
    });
    return {
      upgrader,
      untilReport: async (state) => {
        const { promise, resolve } = Promise.withResolvers<UpgradeReport>();
        const look = (): void => {
          const report = upgrader.report();
          if (report?.state === state) resolve(report);
        };
        changed.add(look);
        look();
        return await promise;
      },
    };
  };

  test("is refused where the agent runs from its source, and by a controller that does not answer", async () => {
    await using folder = aTemporaryDirectory();
    const source = upgraderIn(folder.path, false);
    source.upgrader.order({ id: "u-1", sha256 });
    assert.match((await source.untilReport("refused")).reason ?? "", /runs from its source/);
    const alone = upgraderIn(folder.path, true);
    alone.upgrader.order({ id: "u-2", sha256 });
    assert.is(alone.upgrader.report()?.state, "working");
    assert.match((await alone.untilReport("refused")).reason ?? "", /ECONNREFUSED/);
    assert.is(
      readUpgradeRecord(join(folder.path, "upgrade.json"), createLogger("silent"))?.id,
      "u-2",
    );
  });

  test("is done at once by the one that runs already, and carried out once", async () => {
    await using folder = aTemporaryDirectory();
    const { upgrader, untilReport } = upgraderIn(folder.path, true);
    upgrader.order({ id: "u-1", sha256: await hashFile(RUNNING_PROGRAM) });
    await untilReport("installed");
    upgrader.order({ id: "u-1", sha256 });
    assert.equal(upgrader.report(), { id: "u-1", state: "installed" });
  });
});
