import { spawnSync } from "node:child_process";
import { existsSync, lstatSync, mkdirSync, readdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { zstdCompressSync } from "node:zlib";

import { digestOf } from "../../support/registry-client.ts";
import { assert, suite } from "../../support/suite.ts";
import { aTemporaryDirectory } from "../../support/temporary.ts";
import { aTar, dir, file } from "../layer/tar-builder.ts";
import { describeTree, outline } from "../layer/trees.ts";
import { anAppImage } from "./an-app-image.ts";
import { blobPath, writeLayout } from "./write-layout.ts";

const project = fileURLToPath(new URL("../../..", import.meta.url));
const main = join(project, "agent/src/main.ts");
const deno = join(project, "agent/node_modules/.bin/deno");
const binary = join(
  project,
  `dist/strata-agent-linux-${process.arch === "arm64" ? "arm64" : "amd64"}`,
);

type Outcome = { readonly status: number | null; readonly stdout: string; readonly stderr: string };
type Agent = (...args: readonly string[]) => Outcome;

function runnerOf(program: string, ...first: readonly string[]): Agent {
  return (...args) => {
    const { status, stdout, stderr } = spawnSync(program, [...first, ...args], {
      encoding: "utf8",
    });
    return { status, stdout, stderr };
  };
}

const agent = runnerOf(process.execPath, main);

/** An OCI layout with this image under the tag `app`. */
const lower = aTar([dir("a"), file("a/old", "1"), file("kept", "2")]);
const upper = aTar([file("a/.wh.old"), file("a/new", "3")]);

suite("strata-agent unpack", (test) => {
  const runtimes: Readonly<Record<string, Agent>> = {
    node: agent,
    deno: runnerOf(deno, "run", "-A", main),
    "the single binary": runnerOf(binary),
  };
  for (const [name, run] of Object.entries(runtimes)) {
    if (name === "the single binary" && !existsSync(binary)) {
      test.skip(`unpacks a layer under ${name}`, "it was not built: node scripts/build.ts");
      continue;
    }
    test(`unpacks a layer, whiteouts as overlayfs takes them, under ${name}`, async () => {
      await using folder = aTemporaryDirectory();
      const layer = join(folder.path, "layer.tar.zst");
      writeFileSync(layer, zstdCompressSync(upper));
      const { status, stdout, stderr } = run("unpack", layer, join(folder.path, "out"));
      assert.equal([status, stderr], [0, ""]);
      assert.ok(stdout.startsWith(digestOf(upper)));
      const tree = outline(describeTree(join(folder.path, "out")));
      assert.equal(tree, ["directory a/", "file a/new", "character a/old"]);
    });
  }

  test("refuses a hostile layer with the reason, and leaves the folder as it was", async () => {
    await using folder = aTemporaryDirectory();
    const layer = join(folder.path, "layer.tar");
    writeFileSync(layer, aTar([file("fine"), file("../escape")]));
    const out = join(folder.path, "out");
    mkdirSync(out, { mode: 0o711 });
    const { ino } = lstatSync(out);
    const { status, stderr } = agent("unpack", layer, out);
    assert.is(status, 1);
    assert.match(
      stderr,
      /entry "\.\.\/escape": the name contains `\.\.` \[LAYER_REFUSED\]\nhint: /,
    );
    assert.equal([readdirSync(out), lstatSync(out).ino], [[], ino]);
    assert.is(agent("unpack", layer, join(folder.path, "new")).status, 1);
    assert.equal(readdirSync(folder.path).toSorted(), ["layer.tar", "out"]);
  });

  test("keeps to the limits that the settings say", async () => {
    await using folder = aTemporaryDirectory();
    const layer = join(folder.path, "layer.tar");
    writeFileSync(layer, aTar([file("a"), file("b")]));
    const limited = runnerOf("env", "STRATA_LAYER_ENTRIES_MAX=1", process.execPath, main);
    const { status, stderr } = limited("unpack", layer, join(folder.path, "out"));
    assert.is(status, 1);
    assert.match(stderr, /more than 1 entries \[LAYER_LIMIT\]\nhint: .*settings/);
  });

  test("says which devices it left out", async () => {
    await using folder = aTemporaryDirectory();
    writeFileSync(join(folder.path, "layer.tar"), aTar([{ ...file("dev/null"), type: "3" }]));
    const { status, stderr } = agent(
      "unpack",
      join(folder.path, "layer.tar"),
      join(folder.path, "out"),
    );
    assert.is(status, 0);
    assert.match(stderr, /1 device nodes were not created.*"dev\/null"/);
  });

  test("names what is wrong with its arguments", () => {
    assert.match(agent("unpack").stderr, /^usage: strata-agent unpack/);
    assert.match(
      agent("unpack", "/nonexistent.tar", "/tmp/nonexistent/out").stderr,
      /strata-agent: /,
    );
  });
});

suite("strata-agent rootfs", (test) => {
  test("applies all layers to a plain tree, with or without a tag", async () => {
    await using folder = aTemporaryDirectory();
    const layout = join(folder.path, "layout");
    writeLayout(layout, anAppImage([lower, upper]));
    for (const source of [layout, `${layout}:app`]) {
      const out = join(folder.path, source.endsWith(":app") ? "tagged" : "untagged");
      const { status, stderr } = agent("rootfs", source, out);
      assert.equal([status, stderr], [0, ""]);
      assert.equal(outline(describeTree(out)), ["directory a/", "file a/new", "file kept"]);
    }
  });

  test("refuses a layer with other bytes, a config with another diffId, and an unknown tag", async () => {
    await using folder = aTemporaryDirectory();
    const layout = join(folder.path, "layout");
    const image = anAppImage([lower]);
    writeLayout(layout, image);
    assert.match(
      agent("rootfs", `${layout}:other`, join(folder.path, "out")).stderr,
      /IMAGE_NOT_FOUND\]\nhint: it holds app/,
    );
    const [, layer = Buffer.alloc(0)] = image.blobs;
    writeFileSync(blobPath(layout, layer), anAppImage([upper]).blobs[1] ?? "");
    assert.match(agent("rootfs", layout, join(folder.path, "out")).stderr, /LAYER_DIGEST_MISMATCH/);
    writeLayout(layout, anAppImage([lower], { diffIds: [digestOf(upper)] }));
    assert.match(agent("rootfs", layout, join(folder.path, "out")).stderr, /LAYER_DIGEST_MISMATCH/);
    assert.equal(readdirSync(folder.path), ["layout"]);
  });
});
