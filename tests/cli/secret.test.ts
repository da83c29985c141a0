import { join } from "node:path";
import { PassThrough } from "node:stream";

import { assert, suite } from "../support/suite.ts";
import { aTemporaryDirectory } from "../support/temporary.ts";
import { aControllerServer } from "./support/controller-server.ts";
import { writeFiles } from "./support/recipe-folder.ts";
import { runCli } from "./support/run-cli.ts";

const now = Date.parse("2026-01-01T01:00:00Z");

suite("strata secret", (test) => {
  test("sets a value from standard input or a file, lists and deletes, and never shows it", async () => {
    await using server = await aControllerServer();
    await using folder = aTemporaryDirectory();
    writeFiles(folder.path, { value: "from a file" });
    const strata = (args: readonly string[], stdin = ""): ReturnType<typeof runCli> =>
      runCli(args, { env: server.env, now, stdin: new PassThrough().end(stdin) });
    const runs = [
      await strata(["secret", "set", "db"], "hunter2"),
      await strata(["secret", "set", "db", "--from-file", join(folder.path, "value")]),
      await strata(["secret", "ls"]),
      await strata(["get", "secret", "db", "-o", "json"]),
      await strata(["describe", "secret", "db"]),
      await strata(["secret", "delete", "db"]),
    ];
    assert.equal(
      runs.map(({ status }) => status),
      [0, 0, 0, 0, 0, 0],
    );
    assert.is(runs[0]?.stdout, "Secret/db is at version 1\n");
    assert.is(runs[1]?.stdout, "Secret/db is at version 2\n");
    assert.match(runs[2]?.stdout ?? "", /^NAME +VERSION +CHANGED +AGE\ndb +2 +/);
    assert.is(runs[5]?.stdout, "Secret/db deleted\n");
    assert.not.match(JSON.stringify(runs), /hunter2|from a file/);
  });

  test("refuses an empty value and a file that is not there", async () => {
    await using server = await aControllerServer();
    for (const args of [
      ["secret", "set", "db"],
      ["secret", "set", "db", "--from-file", "/nowhere"],
    ]) {
      const { status, stderr } = await runCli(args, { env: server.env, now });
      assert.is(status, 2);
      assert.match(stderr, /is no secret|is not a file/);
    }
  });
});
