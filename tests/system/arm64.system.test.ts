/** The agent for arm64, run by QEMU's user emulation: its program, its loader and its C library are arm64's, and so is
 * the perl that makes its system calls. What QEMU 7.2 cannot emulate is not tested here: user namespaces, since it has
 * threads of its own, and with them containers. */
import { execFileSync, spawnSync } from "node:child_process";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { gzipSync } from "node:zlib";

import { root } from "../../scripts/root.ts";
import { aTar, dir, file } from "../agent/layer/tar-builder.ts";
import { describeTree, outline } from "../agent/layer/trees.ts";
import { missingPrograms } from "../support/installed.ts";
import { requireArm64Root } from "../support/machines/arm64-root.ts";
import { digestOf } from "../support/registry-client.ts";
import { assert, suite } from "../support/suite.ts";
import { aTemporaryDirectory } from "../support/temporary.ts";

const agent = join(root, "dist/strata-agent-linux-arm64");
const emulator = "/usr/bin/qemu-aarch64-static";

type Outcome = { readonly status: number | null; readonly stdout: string; readonly stderr: string };

/** Runs the agent with an arm64 perl in the place of this machine's, in a mount namespace that ends with it. */
function runAgent(folder: string, ...args: readonly string[]): Outcome {
  const library = requireArm64Root();
  const perl = join(folder, "perl");
  const call = `exec ${emulator} -L ${library} ${library}/usr/bin/perl "$@"`;
  writeFileSync(perl, `#!/bin/sh\n${call}\n`, { mode: 0o755 });
  const script = `mount --bind ${perl} /usr/bin/perl && exec ${emulator} -L ${library} ${agent} "$@"`;
  const { status, stdout, stderr } = spawnSync(
    "unshare",
    ["--mount", "--propagation", "private", "sh", "-c", script, "sh", ...args],
    { encoding: "utf8", env: { PATH: process.env["PATH"], STRATA_DATA: join(folder, "data") } },
  );
  return { status, stdout, stderr };
}

suite("the agent for arm64", (test) => {
  const missing = missingPrograms(["qemu-aarch64-static", "mmdebstrap"]);
  if (missing.length > 0) {
    test.skip("runs", `${missing.join(", ")}: scripts/setup --dev installs them`);
    return;
  }
  execFileSync(process.execPath, [join(root, "scripts/build.ts"), "--arch", "arm64"]);

  test("says its version", async () => {
    await using folder = aTemporaryDirectory();
    const { status, stdout } = runAgent(folder.path, "--version");
    assert.is(status, 0);
    assert.match(stdout, /^strata-agent \d/);
  });

  test("checks the machine that it is on", async () => {
    await using folder = aTemporaryDirectory();
    const { stdout } = runAgent(folder.path, "check", "--json");
    const { findings } = JSON.parse(stdout);
    const unmet = findings.filter(
      ({ level, met }: { level: string; met: boolean }) => level === "required" && !met,
    );
    // Its probe needs a user namespace.
    assert.equal(
      unmet.map(({ name }: { name: string }) => name),
      ["id-mapped-mounts"],
    );
  });

  test("unpacks a layer with whiteouts, an opaque folder, times and attributes", async () => {
    await using folder = aTemporaryDirectory();
    const tar = aTar([
      dir("a"),
      file("a/.wh.old"),
      file("a/new", "3"),
      dir("o"),
      file("o/.wh..wh..opq"),
      file("o/kept", "4"),
    ]);
    const layer = join(folder.path, "layer.tar.gz");
    writeFileSync(layer, gzipSync(tar));
    const out = join(folder.path, "out");
    const { status, stdout, stderr } = runAgent(folder.path, "unpack", layer, out);
    assert.equal([status, stderr], [0, ""]);
    assert.ok(stdout.startsWith(digestOf(tar)));
    assert.equal(outline(describeTree(out)), [
      "directory a/",
      "file a/new",
      "character a/old",
      "directory o/",
      "file o/kept",
    ]);
    const opaque = ["-n", "trusted.overlay.opaque", "--only-values", join(out, "o")];
    assert.is(execFileSync("getfattr", ["--absolute-names", ...opaque], { encoding: "utf8" }), "y");
  });
});
