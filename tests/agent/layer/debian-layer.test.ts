import { execFileSync } from "node:child_process";
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { gzipSync, zstdCompressSync } from "node:zlib";

import { assert, suite } from "../../support/suite.ts";
import { aTemporaryDirectory } from "../../support/temporary.ts";
import { describeTree, unpackInto } from "./trees.ts";

/** `/bin` and its like are links into these, so these come first. */
const merged = ["usr", "usr/bin", "usr/lib", "usr/lib64", "usr/sbin"];
/** Essential packages with setuid programs, hard links, links to links and thousands of files. */
const packages = ["coreutils", "passwd", "util-linux", "tzdata", "libc-bin"];

/** What Debian installed of these packages here, with a capability and a name that is not UTF-8 on top. */
function debianLayer(folder: string): string {
  const listed = execFileSync("dpkg", ["-L", ...packages], { encoding: "utf8" }).split("\n");
  const present = listed
    .filter((path) => path.startsWith("/") && path !== "/.")
    .map((path) => path.slice(1));
  const list = join(folder, "files");
  writeFileSync(list, [...new Set([...merged, ...present.toSorted()])].join("\n"));
  const layer = join(folder, "layer.tar");
  const options = [
    "--format=pax",
    "--xattrs",
    "--numeric-owner",
    "--ignore-failed-read",
    "--no-recursion",
  ];
  execFileSync("tar", [...options, "-C", "/", "-cf", layer, "-T", list], { stdio: "ignore" });
  const extra = join(folder, "extra");
  mkdirSync(extra);
  writeFileSync(Buffer.from(`${extra}/odd-\xff\xfe`, "latin1"), "odd");
  writeFileSync(join(extra, "capable"), "program", { mode: 0o755 });
  execFileSync("setcap", ["cap_net_bind_service+ep", join(extra, "capable")]);
  execFileSync("tar", [
    "--format=pax",
    "--xattrs",
    "--xattrs-include=*",
    "-C",
    extra,
    "-rf",
    layer,
    ".",
  ]);
  return layer;
}

suite("a Debian userland", (test) => {
  test(
    "unpacks to the same tree as with GNU tar and umoci, from gzip, zstd and plain tar",
    async () => {
      await using folder = aTemporaryDirectory();
      const at = (name: string): string => join(folder.path, name);
      const layer = debianLayer(folder.path);
      const archive = execFileSync("cat", [layer], { maxBuffer: 1024 ** 3 });
      const expected = unpackWithTar(layer, at("tar"));
      assert.ok(expected.length > 1500, `${expected.length} entries`);
      assert.equal(unpackWithUmoci(layer, folder.path), expected);
      const blobs = {
        plain: archive,
        gzip: gzipSync(archive, { level: 1 }),
        zstd: zstdCompressSync(archive),
      };
      for (const [name, blob] of Object.entries(blobs)) {
        await unpackInto(at(name), [blob]);
        assert.equal(describeTree(at(name)), expected, name);
      }
    },
    { timeoutMs: 120_000 },
  );
});

function unpackWithTar(layer: string, directory: string): readonly string[] {
  mkdirSync(directory);
  const options = ["--xattrs", "--xattrs-include=*", "--delay-directory-restore", "-p"];
  execFileSync("tar", [...options, "-C", directory, "-xf", layer]);
  return describeTree(directory);
}

function unpackWithUmoci(layer: string, folder: string): readonly string[] {
  const layout = join(folder, "layout");
  const umoci = (...args: readonly string[]): Buffer =>
    execFileSync("umoci", args, { stdio: ["ignore", "pipe", "pipe"] });
  umoci("init", "--layout", layout);
  umoci("new", "--image", `${layout}:test`);
  umoci("raw", "add-layer", "--image", `${layout}:test`, layer);
  umoci("unpack", "--image", `${layout}:test`, join(folder, "bundle"));
  return describeTree(join(folder, "bundle", "rootfs"));
}
