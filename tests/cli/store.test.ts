import { execFile } from "node:child_process";
import { createRequire } from "node:module";
import { join } from "node:path";
import process from "node:process";

import { assert, suite } from "../support/suite.ts";
import { aTemporaryDirectory } from "../support/temporary.ts";

const main = createRequire(import.meta.url).resolve("@strata/cli/main");

type Ended = { readonly status: number; readonly stdout: string; readonly stderr: string };

function strata(...args: readonly string[]): Promise<Ended> {
  const { promise, resolve } = Promise.withResolvers<Ended>();
  const child = execFile(process.execPath, [main, ...args], (_error, stdout, stderr) =>
    resolve({ status: child.exitCode ?? -1, stdout, stderr }),
  );
  return promise;
}

suite("strata store", (test) => {
  test(
    "is the program of the store, with its options, output and exit status",
    async () => {
      await using folder = aTemporaryDirectory();
      const absent = join(folder.path, "absent");
      const refused = await strata("store", "gc", "--data", absent);
      assert.is(refused.status, 2);
      assert.match(refused.stderr, `error: ${absent} is no folder of a store`);
      const users = ["--users", join(folder.path, "users.json")];
      const made = await strata("store", "user", "set", "alice", "--push", "team/*", ...users);
      assert.is(made.status, 0, made.stderr);
      assert.match(made.stdout, /^password: \S{20}\n$/);
      const listed = await strata("store", "user", "list", ...users);
      assert.is(listed.stdout, "alice: pull,push team/* (0 tokens)\n");
      assert.match((await strata("store", "serve", "--help")).stdout, /strata store \[serve\]/);
    },
    { timeoutMs: 120_000 },
  );
});
