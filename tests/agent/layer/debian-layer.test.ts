import { execFileSync } from "node:child_process";
import { mkdirSync } from "node:fs";
import { join } from "node:path";
import { gzipSync, zstdCompressSync } from "node:zlib";

import { assert, suite } from "../../support/suite.ts";
import { aTemporaryDirectory } from "../../support/temporary.ts";
import { makeDebianArchive } from "./debian-archive.ts";
import { describeTree, unpackInto } from "./trees.ts";

suite("a Debian userland", (test) => {
  test(
    "unpacks to the same tree as with GNU tar and umoci, from gzip, zstd and plain tar",
    async () => {
      await using folder = aTemporaryDirectory();
      const at = (name: string): string => join(folder.path, name);
      const layer = makeDebianArchive(folder.path);
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
