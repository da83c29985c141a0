import { execFileSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { join } from "node:path";

import { assert, suite } from "../support/suite.ts";
import { aTemporaryDirectory } from "../support/temporary.ts";
import { readImage } from "./support/image.ts";
import { writeFiles } from "./support/recipe-folder.ts";
import { type CliResult, runCli } from "./support/run-cli.ts";

const base = `
name: a
command: [/bin/sh]
files:
  - { to: /bin/busybox, from: /bin/busybox, mode: "0755" }
  - { to: /bin/sh, link: busybox }
  - { to: /srv/keep, text: keep }
  - { to: /srv/change, text: old }
  - { to: /srv/drop, text: drop }
  - { to: /srv/tree/a/b, text: b }
run:
`;

async function build(folder: string, ...lines: readonly string[]): Promise<CliResult> {
  const run = lines.map((line) => `  - ${JSON.stringify(line)}\n`).join("");
  writeFiles(folder, { "cartridge.yaml": base + run });
  return runCli(["cartridge", "build", folder, "-o", join(folder, "out")]);
}

suite("run lines of a recipe", (test) => {
  test("become one layer of just what they changed, with whiteouts for what they removed", async () => {
    await using folder = aTemporaryDirectory();
    const { status, stderr } = await build(
      folder.path,
      "echo new >/srv/change; busybox rm /srv/drop",
      "busybox rm -r /srv/tree; busybox mkdir -p /opt/x; echo 1 >/opt/x/y; busybox chown 33:44 /opt/x/y",
    );
    assert.is(status, 0, stderr);
    assert.equal(readImage(join(folder.path, "out")).layers[1], [
      "drwxr-xr-x 0/0 0 opt/",
      "drwxr-xr-x 0/0 0 opt/x/",
      "-rw-r--r-- 33/44 2 opt/x/y",
      "drwxr-xr-x 0/0 0 srv/",
      "-rw-r--r-- 0/0 0 srv/.wh.drop",
      "-rw-r--r-- 0/0 0 srv/.wh.tree",
      "-rw-r--r-- 0/0 4 srv/change",
    ]);
  });

  test("see a /proc and /dev/null of their own, and no network", async () => {
    await using folder = aTemporaryDirectory();
    const { status, stderr } = await build(
      folder.path,
      "echo x >/dev/null; echo pid $$; busybox cat /proc/net/dev >/srv/devices",
    );
    assert.is(status, 0, stderr);
    assert.match(stderr, /^ {2}pid 1$/m);
    const layout = join(folder.path, "out");
    const rootfs = join(folder.path, "bundle/rootfs");
    execFileSync("umoci", ["unpack", "--image", `${layout}:latest`, join(folder.path, "bundle")], {
      stdio: "ignore",
    });
    const devices = readFileSync(join(rootfs, "srv/devices"), "utf8").match(/\w+(?=:)/g);
    assert.ok(
      devices?.every((name) => ["lo", "tunl0", "sit0", "ip6tnl0"].includes(name)),
      String(devices),
    );
  });

  test("that fail end the build with their last words, and leave no mount and no folder", async () => {
    await using folder = aTemporaryDirectory();
    const mounts = readFileSync("/proc/self/mounts", "utf8");
    const { status, stderr } = await build(folder.path, "echo before; echo reason >&2; exit 9");
    assert.is(status, 5);
    assert.match(stderr, "unshare ended with code 9\nreason");
    assert.is(execFileSync("ls", ["-A", folder.path], { encoding: "utf8" }), "cartridge.yaml\n");
    assert.is(readFileSync("/proc/self/mounts", "utf8").includes(folder.path), false, mounts);
  });

  test("give the same digest each time", async () => {
    await using folder = aTemporaryDirectory();
    const digests = new Set<string>();
    for (const _ of [1, 2]) {
      await build(folder.path, "echo $SOURCE_DATE_EPOCH >/srv/when");
      digests.add(readImage(join(folder.path, "out")).digest);
    }
    assert.is(digests.size, 1);
  });
});
