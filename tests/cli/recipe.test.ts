import { symlinkSync } from "node:fs";
import { join } from "node:path";

import { parseRecipe } from "@strata/cli/cartridge/recipe";

import { assert, suite, throwsWithCode } from "../support/suite.ts";
import { aTemporaryDirectory } from "../support/temporary.ts";
import { readImage } from "./support/image.ts";
import { writeFiles } from "./support/recipe-folder.ts";
import { runCli } from "./support/run-cli.ts";

function refusal(yaml: string): string {
  const error = throwsWithCode(() => parseRecipe(yaml, "cartridge.yaml"), "SOURCE_INVALID");
  return error.message;
}

async function buildFiles(
  folder: string,
  files: string,
): Promise<{ status: number; stderr: string }> {
  writeFiles(folder, { "cartridge.yaml": `name: a\ncommand: [/a]\nfiles:\n${files}` });
  return runCli(["cartridge", "build", folder, "-o", join(folder, "out")]);
}

suite("cartridge.yaml", (test) => {
  test("needs a name alone", () => {
    const recipe = parseRecipe("name: a", "cartridge.yaml");
    assert.equal([recipe.files, recipe.workingDir, recipe.stopSignal], [[], "/", "SIGTERM"]);
  });

  test("names every wrong field at once", () => {
    const message = refusal(
      'name: UPPER\nports: [0, 70000]\nenv: { A: "x\\ny" }\nworkingDir: srv\n',
    );
    for (const field of ["name:", "ports.0:", "ports.1:", "env.A:", "workingDir:"]) {
      assert.match(message, `  ${field}`);
    }
  });

  test("refuses fields that it does not know", () => {
    assert.match(refusal("name: a\nentrypoint: [x]"), "entrypoint");
  });

  test("refuses a key that is there twice", () => {
    assert.match(refusal("name: a\nname: b"), "not YAML");
  });

  test("refuses paths that leave the root or are written in two ways", () => {
    for (const to of ["etc/x", "/../x", "/a/../b", "/a//b", "/a/.", "/", "/a/"]) {
      assert.match(refusal(`name: a\nfiles: [{ to: "${to}" }]`), "absolute path", to);
    }
  });

  test("refuses a step that is two things at once", () => {
    assert.match(refusal('name: a\nfiles: [{ to: /x, text: "", link: y }]'), "files.0");
  });
});

suite("files of a recipe", (test) => {
  test("takes the later of two steps with one path", async () => {
    await using folder = aTemporaryDirectory();
    const files = "  - { to: /etc/a, text: first }\n  - { to: /etc/a, link: b }\n";
    assert.is((await buildFiles(folder.path, files)).status, 0);
    const [lines = []] = readImage(join(folder.path, "out")).layers;
    assert.equal(
      lines.filter((line) => line.includes("etc/a")),
      ["lrwxrwxrwx 0/0 0 etc/a -> b"],
    );
  });

  test("refuses a source that is missing", async () => {
    await using folder = aTemporaryDirectory();
    const { status, stderr } = await buildFiles(folder.path, "  - { to: /a, from: nope }\n");
    assert.is(status, 2);
    assert.match(stderr, "files: nope does not exist");
  });

  test("refuses a relative source that a link leads out of the folder", async () => {
    await using folder = aTemporaryDirectory();
    symlinkSync("/etc/passwd", join(folder.path, "innocent"));
    for (const from of ["innocent", "../../etc/passwd"]) {
      const { status, stderr } = await buildFiles(folder.path, `  - { to: /a, from: ${from} }\n`);
      assert.is(status, 2);
      assert.match(stderr, /leads out of|does not exist/);
    }
  });

  test("refuses a path through a link, which a folder would replace", async () => {
    await using folder = aTemporaryDirectory();
    const files = "  - { to: /bin, link: usr/bin }\n  - { to: /bin/x, text: x }\n";
    const { status, stderr } = await buildFiles(folder.path, files);
    assert.is(status, 2);
    assert.match(stderr, "files: /bin/x leads through /bin, which is a link to usr/bin");
  });

  test("keeps mode and owner of folders that the base has", async () => {
    await using folder = aTemporaryDirectory();
    const base = join(folder.path, "base.tar");
    await using tree = aTemporaryDirectory();
    writeFiles(tree.path, { "var/data/x": "x", "etc/a": "a" });
    const { execFileSync } = await import("node:child_process");
    execFileSync("chmod", ["1777", join(tree.path, "var/data")]);
    execFileSync("tar", ["-cf", base, "--owner=7", "--group=8", "-C", tree.path, "."]);
    writeFiles(folder.path, {
      "cartridge.yaml":
        "name: a\ncommand: [/a]\nbase: { rootfs: base.tar }\nfiles: [{ to: /var/data/y, text: y }]",
    });
    const out = join(folder.path, "out");
    const { status, stderr } = await runCli(["cartridge", "build", folder.path, "-o", out]);
    assert.is(status, 0, stderr);
    assert.equal(readImage(out).layers[1], [
      "drwxr-xr-x 7/8 0 var/",
      "drwxrwxrwt 7/8 0 var/data/",
      "-rw-r--r-- 0/0 1 var/data/y",
    ]);
  });
});
