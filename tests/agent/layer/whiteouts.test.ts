import { execFileSync } from "node:child_process";
import { mkdirSync } from "node:fs";
import { join } from "node:path";

import { assert, suite } from "../../support/suite.ts";
import { aTemporaryDirectory } from "../../support/temporary.ts";
import { aTar, dir, type EntrySpec, file, symlink } from "./tar-builder.ts";
import { anUnpacked, describeTree, outline, unpackInto } from "./trees.ts";

type Case = {
  readonly lower: readonly EntrySpec[];
  readonly upper: readonly EntrySpec[];
  readonly visible: readonly string[];
};

const lower = [
  dir("d"),
  file("d/old", "1"),
  dir("d/sub"),
  file("d/sub/deep", "2"),
  file("f", "3"),
  symlink("l", "d"),
];
const rest = ["file f", "symlink l -> d"];

/** What both a plain tree and an overlay mount of two layers must show. */
const cases: Readonly<Record<string, Case>> = {
  "a whiteout of a file": {
    lower,
    upper: [file("d/.wh.old")],
    visible: ["directory d/", "directory d/sub/", "file d/sub/deep", ...rest],
  },
  "a whiteout of a directory": { lower, upper: [file(".wh.d")], visible: rest },
  "a whiteout of a link hides the link alone": {
    lower,
    upper: [file(".wh.l")],
    visible: ["directory d/", "file d/old", "directory d/sub/", "file d/sub/deep", "file f"],
  },
  "a whiteout in front of a directory of the same name": {
    lower,
    upper: [file(".wh.d"), dir("d"), file("d/new")],
    visible: ["directory d/", "file d/new", ...rest],
  },
  "a whiteout behind a directory of the same name": {
    lower,
    upper: [dir("d"), file("d/new"), file(".wh.d")],
    visible: ["directory d/", "file d/new", ...rest],
  },
  "a whiteout behind a file of the same name": {
    lower,
    upper: [file("f", "new"), file(".wh.f"), file(".wh.d")],
    visible: rest,
  },
  "an opaque mark in front of its directory's content": {
    lower,
    upper: [dir("d"), file("d/.wh..wh..opq"), file("d/new")],
    visible: ["directory d/", "file d/new", ...rest],
  },
  "an opaque mark behind its directory's content": {
    lower,
    upper: [dir("d"), file("d/new"), dir("d/sub"), file("d/.wh..wh..opq")],
    visible: ["directory d/", "file d/new", "directory d/sub/", ...rest],
  },
  "a whiteout of what is not there": {
    lower,
    upper: [file(".wh.nothing"), file("d/sub/.wh.nothing")],
    visible: ["directory d/", "file d/old", "directory d/sub/", "file d/sub/deep", ...rest],
  },
  "a file in place of a directory": {
    lower,
    upper: [file("d", "now a file")],
    visible: ["file d", ...rest],
  },
  "a directory in place of a file": {
    lower,
    upper: [dir("f"), file("f/new"), file(".wh.d")],
    visible: ["directory f/", "file f/new", "symlink l -> d"],
  },
  "book-keeping of AUFS": {
    lower: [file("f")],
    upper: [dir(".wh..wh.plnk"), file(".wh..wh.plnk/1.2"), file(".wh..wh.aufs")],
    visible: ["file f"],
  },
};

suite("whiteouts", (test) => {
  for (const [title, { lower: below, upper, visible }] of Object.entries(cases)) {
    test(`${title}, applied to a plain tree`, async () => {
      await using unpacked = await anUnpacked([aTar(below), aTar(upper)], { policy: "apply" });
      assert.equal(outline(unpacked.tree), visible);
    });

    test(`${title}, seen through overlayfs`, async () => {
      await using folder = aTemporaryDirectory();
      await unpackInto(join(folder.path, "lower"), [aTar(below)]);
      await unpackInto(join(folder.path, "upper"), [aTar(upper)]);
      await using mount = anOverlay(folder.path, ["upper", "lower"]);
      assert.equal(outline(describeTree(mount.path)), visible);
    });
  }

  test("become character devices 0/0 and opaque marks, and leave the directory's time alone", async () => {
    await using unpacked = await anUnpacked([
      aTar([dir("d"), file("d/.wh.gone"), dir("o"), file("o/.wh..wh..opq")]),
    ]);
    const text = unpacked.tree.join("\n");
    assert.match(text, /"character","0","0:0",.*"d\/gone"/);
    assert.match(text, /"755","0:0","1600000000.0","d\/"/);
    assert.match(text, /"o\/","",\["trusted.overlay.opaque=79"\]/);
  });

  test("a root that is opaque is told, not marked", async () => {
    const layers = [aTar([file("old"), dir("d")]), aTar([file("new"), file(".wh..wh..opq")])];
    await using applied = await anUnpacked(layers, { policy: "apply" });
    assert.equal(outline(applied.tree), ["file new"]);
  });
});

function anOverlay(
  folder: string,
  layers: readonly string[],
): AsyncDisposable & { readonly path: string } {
  const path = join(folder, "merged");
  mkdirSync(path);
  mkdirSync(join(folder, "empty"));
  const lowerdir = [...layers, "empty"].map((layer) => join(folder, layer)).join(":");
  execFileSync("mount", ["-t", "overlay", "overlay", "-o", `ro,lowerdir=${lowerdir}`, path]);
  return {
    path,
    [Symbol.asyncDispose]: () => {
      execFileSync("umount", [path]);
      return Promise.resolve();
    },
  };
}
