import { execFileSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { gzipSync, zstdCompressSync } from "node:zlib";

import { mediaTypes } from "@strata/protocol/oci/media-type";

import { anImage } from "../../support/images.ts";
import { digestOf } from "../../support/registry-client.ts";
import { assert, suite } from "../../support/suite.ts";
import { aTemporaryDirectory } from "../../support/temporary.ts";
import { writeLayout } from "../image/write-layout.ts";
import { makeDebianArchive } from "./debian-archive.ts";
import { aTar, dir, file, hardlink, symlink } from "./tar-builder.ts";
import { describeArchive, describeTree, describingArguments } from "./trees.ts";

const main = fileURLToPath(new URL("../../../agent/src/main.ts", import.meta.url));
/** VFS_CAP_REVISION_2 with cap_net_bind_service, effective. */
const capability =
  "\x01\x00\x00\x02\x00\x04\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00";
const parent = `usr/share/${"long-name-".repeat(20)}`;
const long = `${parent}/${"and-longer-".repeat(15)}`;
const zones = "usr/share/zoneinfo";

/** What a build step would change: files and whole folders go, come, change their type, owner, mode, time. */
const changes = aTar([
  dir("usr/", { mtime: 1_650_000_000 }),
  dir("usr/bin/", { pax: { mtime: "1650000001.123456789" } }),
  file("usr/bin/.wh.who"),
  file("usr/bin/fresh", "fresh", { mode: 0o4755, uid: 1000, gid: 1001 }),
  hardlink("usr/bin/fresh-too", "usr/bin/fresh", { mode: 0o4755, uid: 1000, gid: 1001 }),
  file("usr/bin/bound", "program", {
    mode: 0o755,
    pax: { "SCHILY.xattr.security.capability": capability, "SCHILY.xattr.user.note": "a\n=b" },
  }),
  symlink("usr/bin/users", "id", { pax: { mtime: "1650000002.000000001" } }),
  file("usr/bin/.wh.groups"),
  dir("usr/bin/groups/", { mode: 0o2770, gid: 50 }),
  file("usr/bin/groups/inside", "x"),
  dir("usr/share/"),
  dir(`${zones}/`),
  file(`${zones}/.wh.Europe`),
  dir(`${zones}/Asia/`, { mode: 0o1777 }),
  file(`${zones}/Asia/.wh..wh..opq`),
  file(`${zones}/Asia/Tokyo`, "new", { pax: { mtime: "-1000.5" } }),
  dir("x", { longName: `${parent}/` }),
  dir("x", { longName: `${long}/` }),
  file("x", "deep", { longName: `${long}/file` }),
  file("usr/share/odd-\xff\xfe", "odd"),
  file("usr/share/.with-dots..", "", { pax: { uid: "70000", gid: "4000000000" } }),
  { name: "usr/share/queue", type: "6", mode: 0o620, uid: 5 },
]);

/** The next step takes some of it back. */
const more = aTar([
  dir("usr/"),
  dir("usr/bin/"),
  file("usr/bin/.wh.fresh"),
  file("usr/bin/bound", "another program"),
  dir("usr/share/"),
  dir(`${zones}/`, { mtime: 1_660_000_000 }),
  dir(`${zones}/Europe/`),
  file(`${zones}/Europe/Berlin`, "back"),
  file(`${zones}/Asia/.wh.Tokyo`),
  dir(`${zones}/Asia/`),
]);

type Packing = { readonly type: string; readonly pack: (archive: Buffer) => Buffer };

const packings: Readonly<Record<string, Packing>> = {
  gzip: { type: mediaTypes.layerGzip, pack: (archive) => gzipSync(archive, { level: 1 }) },
  zstd: { type: mediaTypes.layerZstd, pack: (archive) => zstdCompressSync(archive) },
  "plain tar": { type: mediaTypes.layer, pack: (archive) => archive },
};

suite("a Debian image of three layers", (test) => {
  for (const [name, { type, pack }] of Object.entries(packings)) {
    test(
      `comes out as with umoci and podman, from ${name}`,
      async () => {
        await using folder = aTemporaryDirectory();
        const layout = join(folder.path, "layout");
        const archives = [readFileSync(makeDebianArchive(folder.path)), changes, more];
        writeLayout(
          layout,
          anImage({ layers: archives.map(pack), layerType: type, config: configOf(archives) }),
        );
        const own = join(folder.path, "own");
        execFileSync(process.execPath, [main, "rootfs", layout, own], { stdio: "pipe" });
        const tree = describeTree(own);
        assert.ok(tree.length > 1500, `${tree.length} entries`);
        // Debian's umoci knows no zstd.
        if (name !== "zstd") assertSameTree(unpackWithUmoci(layout, folder.path), tree);
        assertSameTree(unpackWithPodman(folder.path), tree);
      },
      { timeoutMs: 300_000 },
    );
  }
});

function configOf(archives: readonly Buffer[]): Buffer {
  const rootfs = { type: "layers", diff_ids: archives.map((archive) => digestOf(archive)) };
  const architecture = process.arch === "arm64" ? "arm64" : "amd64";
  return Buffer.from(JSON.stringify({ architecture, os: "linux", config: {}, rootfs }));
}

/** Shows the lines that differ, of thousands. */
function assertSameTree(other: readonly string[], own: readonly string[]): void {
  const [theirs, ours] = [new Set(other), new Set(own)];
  const differences = [
    ...other.filter((line) => !ours.has(line)).map((line) => `other: ${line}`),
    ...own.filter((line) => !theirs.has(line)).map((line) => `own:   ${line}`),
  ];
  assert.equal(differences, []);
}

function unpackWithUmoci(layout: string, folder: string): readonly string[] {
  const bundle = join(folder, "bundle");
  execFileSync("umoci", ["unpack", "--image", `${layout}:app`, bundle], { stdio: "pipe" });
  return describeTree(join(bundle, "rootfs"));
}

/** In a mount namespace of its own, with which all of its mounts end. podman makes a name of the layout's path, and takes
 * no capital letters in it: so the path is a relative one. */
function unpackWithPodman(folder: string): readonly string[] {
  const script = String.raw`
    podman() { command podman --root "$PWD/p" --runroot "$PWD/r" --storage-driver overlay "$@"; }
    id=$(podman pull -q oci:layout:app) && cd "$(podman image mount "$id")" && exec tar "$@"`;
  const shell = ["sh", "-ec", script, "sh", ...describingArguments];
  const archive = execFileSync("unshare", ["--mount", "--propagation", "private", ...shell], {
    cwd: folder,
    maxBuffer: 1024 ** 3,
    stdio: ["ignore", "pipe", "pipe"],
  });
  return describeArchive(archive);
}
