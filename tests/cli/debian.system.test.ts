import { join } from "node:path";

import { assert, suite } from "../support/suite.ts";
import { aTemporaryDirectory } from "../support/temporary.ts";
import { readImage } from "./support/image.ts";
import { writeFiles } from "./support/recipe-folder.ts";
import { type CliResult, runCli } from "./support/run-cli.ts";

const recipe = `
name: a
base: { debian: { packages: [busybox-static] } }
command: [/bin/busybox]
`;

async function build(folder: string, ...more: readonly string[]): Promise<CliResult> {
  const env = { XDG_CACHE_HOME: join(folder, "cache") };
  return runCli(["cartridge", "build", folder, "-o", join(folder, "out"), ...more], { env });
}

suite("a base of Debian packages", (test) => {
  test(
    "is installed to the same bytes each time, and taken from the cache after that",
    async () => {
      await using folder = aTemporaryDirectory();
      writeFiles(folder.path, { "cartridge.yaml": recipe });
      const first = await build(folder.path);
      assert.is(first.status, 0, first.stderr);
      assert.match(first.stderr, "install busybox-static from Debian");
      const { digest, layers } = readImage(join(folder.path, "out"));
      const second = await build(folder.path, "--fresh");
      assert.match(second.stderr, "install busybox-static from Debian");
      assert.is(readImage(join(folder.path, "out")).digest, digest);
      const third = await build(folder.path);
      assert.match(third.stderr, "from the cache");
      assert.is(readImage(join(folder.path, "out")).digest, digest);

      const lines = layers[0] ?? [];
      assert.ok(lines.some((line) => line.endsWith("bin/busybox")));
      // Nothing of the machine that built it, and no devices.
      for (const left of ["./etc/hostname", "./etc/resolv.conf", "./var/log/dpkg.log"]) {
        assert.not.ok(
          lines.some((line) => line.endsWith(` ${left}`)),
          left,
        );
      }
      assert.not.ok(lines.some((line) => /^[bc]/.test(line)));
    },
    { timeoutMs: 600_000 },
  );

  test(
    "refuses a package that does not exist, with the tool's own words",
    async () => {
      await using folder = aTemporaryDirectory();
      const missing = recipe.replace("busybox-static", "no-such-package");
      writeFiles(folder.path, { "cartridge.yaml": missing });
      const { status, stderr } = await build(folder.path);
      assert.is(status, 5);
      assert.match(stderr, "Unable to locate package no-such-package");
    },
    { timeoutMs: 300_000 },
  );
});
