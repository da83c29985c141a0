import { mkdirSync, utimesSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";

import { findStoreProgram } from "@strata/cli/store/find-program";

import { assert, suite } from "../support/suite.ts";
import { aTemporaryDirectory } from "../support/temporary.ts";

/** `at` is in seconds. */
function write(root: string, path: string, at: number): void {
  mkdirSync(dirname(join(root, path)), { recursive: true });
  writeFileSync(join(root, path), "");
  utimesSync(join(root, path), at, at);
}

suite("the store's program", (test) => {
  test("is the bundle, unless there is none or a source is newer", async () => {
    await using folder = aTemporaryDirectory();
    const { path: root } = folder;
    const [source, bundle] = ["registry/src/main.ts", "registry/dist/main.mjs"];
    write(root, source, 100);
    write(root, "protocol/src/oci/digest.ts", 100);
    write(root, "pnpm-lock.yaml", 100);
    assert.is(findStoreProgram(root), join(root, source));
    write(root, bundle, 200);
    assert.is(findStoreProgram(root), join(root, bundle));
    for (const path of ["protocol/src/oci/digest.ts", "pnpm-lock.yaml"]) {
      write(root, path, 300);
      assert.is(findStoreProgram(root), join(root, source), path);
      write(root, path, 100);
    }
  });
});
