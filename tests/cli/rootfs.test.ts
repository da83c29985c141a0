import { execFileSync } from "node:child_process";
import { mkdirSync } from "node:fs";
import { join } from "node:path";

import { assert, suite } from "../support/suite.ts";
import { aTemporaryDirectory } from "../support/temporary.ts";
import { readImage } from "./support/image.ts";
import { writeFiles } from "./support/recipe-folder.ts";
import { type CliResult, runCli } from "./support/run-cli.ts";

const metadata = `
architecture: aarch64
creation_date: 1700000000
properties: { os: Debian, release: bookworm, description: Debian bookworm arm64 }
templates: { /etc/hostname: { when: [create] } }
`;

/** The files of an image for LXC below `folder`, and what a tarball of its tree hashes to. */
function writeRootfs(folder: string): string {
  const root = join(folder, "tree");
  writeFiles(root, { "etc/os-release": "ID=debian\n", "usr/bin/env": "#!/bin/sh\n" });
  return root;
}

function pack(archive: string, flags: string, ...args: readonly string[]): void {
  execFileSync("tar", [
    "-c",
    flags,
    "-f",
    archive,
    "--sort=name",
    "--owner=5",
    "--group=6",
    ...args,
  ]);
}

async function build(source: string, out: string): Promise<CliResult> {
  return runCli(["cartridge", "build", source, "-o", out, "-t", "imported:1"]);
}

suite("root file systems that somebody already has", (test) => {
  const packings = [
    ["-z", "gz"],
    ["-J", "xz"],
    ["--zstd", "zst"],
    ["-j", "bz2"],
    ["-v", ""],
  ] as const;
  for (const [flag, suffix] of packings) {
    test(`takes a tarball byte for byte: tar ${suffix}`, async () => {
      await using folder = aTemporaryDirectory();
      const root = writeRootfs(folder.path);
      pack(join(folder.path, "plain.tar"), "-v", "-C", root, ".");
      const archive = join(folder.path, suffix === "" ? "image.tar" : `image.tar.${suffix}`);
      pack(archive, flag, "-C", root, ".");
      const out = join(folder.path, "out");
      const { status, stderr } = await build(archive, out);
      assert.is(status, 0, stderr);
      assert.match(stderr, "the image names no command");
      const sum = execFileSync("sha256sum", [join(folder.path, "plain.tar")], { encoding: "utf8" });
      assert.is(readImage(out).config.rootfs.diff_ids[0], `sha256:${sum.slice(0, 64)}`);
    });
  }

  test("takes an image for LXC: rootfs.tar.xz beside metadata.tar.xz", async () => {
    await using folder = aTemporaryDirectory();
    const root = writeRootfs(folder.path);
    const image = join(folder.path, "image");
    mkdirSync(image);
    pack(join(image, "rootfs.tar.xz"), "-J", "-C", root, ".");
    writeFiles(folder.path, { "metadata.yaml": metadata });
    pack(join(image, "metadata.tar.xz"), "-J", "-C", folder.path, "metadata.yaml");
    for (const source of [image, join(image, "rootfs.tar.xz")]) {
      const out = join(folder.path, "out");
      const { status, stderr } = await build(source, out);
      assert.is(status, 0, stderr);
      const { config, layers } = readImage(out);
      assert.is(config.architecture, "arm64");
      assert.match(JSON.stringify(config.config?.Labels), "Debian bookworm arm64");
      assert.ok(layers[0]?.includes("-rw-r--r-- 5/6 10 ./etc/os-release"), layers[0]?.join("\n"));
    }
  });

  test("takes an image with metadata.yaml and rootfs/ in one tarball, or in one folder", async () => {
    await using folder = aTemporaryDirectory();
    const image = join(folder.path, "image");
    writeFiles(image, { "metadata.yaml": metadata, "rootfs/etc/os-release": "ID=debian\n" });
    const archive = join(folder.path, "unified.tar.gz");
    pack(archive, "-z", "-C", image, "metadata.yaml", "rootfs");
    const out = join(folder.path, "out");
    for (const [source, owner] of [
      [archive, "5/6"],
      [image, "0/0"],
    ] as const) {
      const { status, stderr } = await build(source, out);
      assert.is(status, 0, stderr);
      const { config, layers } = readImage(out);
      assert.is(config.architecture, "arm64");
      assert.equal(layers, [
        [`drwxr-xr-x ${owner} 0 etc/`, `-rw-r--r-- ${owner} 10 etc/os-release`],
      ]);
    }
  });

  test("leaves devices and sockets out, and says so", async () => {
    await using folder = aTemporaryDirectory();
    const root = writeRootfs(folder.path);
    execFileSync("mknod", [join(root, "etc/null"), "c", "1", "3"]);
    execFileSync("mkfifo", [join(root, "etc/fifo")]);
    const out = join(folder.path, "out");
    const { status, stderr } = await build(root, out);
    assert.is(status, 0, stderr);
    assert.match(stderr, "warning: /etc/null is a device or a socket and is left out");
    const [lines = []] = readImage(out).layers;
    assert.ok(lines.some((line) => line.startsWith("prw-") && line.endsWith("etc/fifo")));
    assert.not.ok(lines.some((line) => line.includes("etc/null")));
  });

  const refused: readonly (readonly [string, Readonly<Record<string, string>>, RegExp])[] = [
    ["a folder without anything to run", { "readme.txt": "x" }, /no cartridge.yaml/],
    ["a squashfs", { "rootfs.squashfs": "hsqs" }, /unsquashfs -d rootfs/],
    ["a file that is no archive", { "rootfs.tar.xz": "hello" }, /is not a tar archive/],
    [
      "another architecture",
      { "rootfs/etc/x": "x", "metadata.yaml": "architecture: riscv64\n" },
      /is for riscv64; nodes are amd64 or arm64/,
    ],
    [
      "metadata that is no YAML",
      { "rootfs/etc/x": "x", "metadata.yaml": "a: [" },
      /is not what LXC and Incus write/,
    ],
  ];
  for (const [what, files, words] of refused) {
    test(`refuses ${what}`, async () => {
      await using folder = aTemporaryDirectory();
      writeFiles(folder.path, files);
      const { status, stderr } = await build(folder.path, join(folder.path, "out"));
      assert.is(status, 2);
      assert.match(stderr, words);
    });
  }

  test("refuses a tarball that ends early", async () => {
    await using folder = aTemporaryDirectory();
    const root = writeRootfs(folder.path);
    const archive = join(folder.path, "image.tar.gz");
    pack(archive, "-z", "-C", root, ".");
    execFileSync("truncate", ["-s", "60", archive]);
    const out = join(folder.path, "out");
    const { status, stderr } = await build(archive, out);
    assert.is.not(status, 0);
    assert.match(stderr, "error: ");
    assert.is(
      execFileSync("ls", ["-A", folder.path], { encoding: "utf8" }),
      "image.tar.gz\ntree\n",
    );
  });
});
