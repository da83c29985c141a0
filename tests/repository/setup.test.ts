import { spawnSync } from "node:child_process";
import { chmodSync, cpSync, symlinkSync } from "node:fs";
import { join } from "node:path";

import { root } from "../../scripts/root.ts";
import { assert, suite } from "../support/suite.ts";
import { aTemporaryDirectory } from "../support/temporary.ts";

const setup = join(root, "scripts/setup");

suite("scripts/setup", (test) => {
  test("refuses an option that it does not know, and names its own", () => {
    const { status, stderr } = spawnSync(setup, ["--prod"], { encoding: "utf8" });
    assert.is(status, 1);
    assert.match(stderr, "unknown option --prod");
    assert.match(stderr, "usage: scripts/setup [--dev]");
  });

  test("says that it needs root, and how to become it", async () => {
    await using folder = aTemporaryDirectory();
    chmodSync(folder.path, 0o755);
    cpSync(join(root, "scripts"), join(folder.path, "scripts"), {
      recursive: true,
      filter: (path) => !path.includes("node_modules"),
    });
    const { status, stderr } = spawnSync(
      "setpriv",
      ["--reuid=65534", "--clear-groups", join(folder.path, "scripts/setup")],
      { encoding: "utf8" },
    );
    assert.is(status, 1);
    assert.match(stderr, "needs root");
    assert.match(stderr, "sudo scripts/setup");
  });

  test("says on another distribution which ones it knows", async () => {
    await using folder = aTemporaryDirectory();
    for (const tool of ["sh", "dirname", "id", "sed", "uname"]) {
      symlinkSync(`/usr/bin/${tool}`, join(folder.path, tool));
    }
    const { status, stderr } = spawnSync(setup, { encoding: "utf8", env: { PATH: folder.path } });
    assert.is(status, 1);
    assert.match(stderr, "this is no Debian or Ubuntu");
    assert.match(stderr, "docs/operating/install.md");
  });
});
