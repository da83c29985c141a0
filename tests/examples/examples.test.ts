import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";

import { parseRecipe } from "@strata/cli/cartridge/recipe";

import { aControllerServer } from "../cli/support/controller-server.ts";
import { readImage } from "../cli/support/image.ts";
import { runCli } from "../cli/support/run-cli.ts";
import { assert, suite } from "../support/suite.ts";
import { aTemporaryDirectory } from "../support/temporary.ts";

const examples = join(import.meta.dirname, "../../examples");

suite("examples", (test) => {
  for (const name of ["hello", "php", "tomcat"]) {
    test(`${name}: has a recipe that says how it runs and how to see that it is well`, () => {
      const file = join(examples, name, "cartridge.yaml");
      const recipe = parseRecipe(readFileSync(file, "utf8"), file);
      assert.is(recipe.name, name);
      assert.ok(recipe.command.length > 0);
      const { health } = recipe;
      assert.ok(health !== undefined && "port" in health);
      assert.ok(recipe.ports.includes(`${health.port}/tcp`));
      assert.ok(recipe.user !== "" && recipe.user !== "root", "an example does not run as root");
    });

    test(`${name}: its apply.yaml is taken by the controller as it stands`, async () => {
      await using server = await aControllerServer();
      const text = readFileSync(join(examples, name, "apply.yaml"), "utf8")
        // The test's store has one image, under another name.
        .replaceAll(/image: \w+:latest/g, "image: hello:2");
      await using folder = aTemporaryDirectory();
      const partition = JSON.stringify({ kind: "Partition", name: "local" });
      const file = join(folder.path, "apply.yaml");
      writeFileSync(file, `${partition}\n---\n${text}`);
      const { status, stdout, stderr } = await runCli(["apply", "-f", file], { env: server.env });
      assert.is(status, 0, stderr);
      assert.match(stdout, `Cartridge/${name} created`);
      assert.match(stdout, /^Subscription\/\w+ created$/m);
    });

    test(`${name}: has a page of one screen`, () => {
      const page = readFileSync(join(examples, name, "README.md"), "utf8");
      assert.ok(page.split("\n").length <= 50);
    });
  }

  test("hello: is one small layer that runs as its own user", async () => {
    await using folder = aTemporaryDirectory();
    const layout = join(folder.path, "layout");
    const args = ["cartridge", "build", join(examples, "hello"), "-o", layout];
    const { status, stderr } = await runCli(args);
    assert.is(status, 0, stderr);
    const { config, layers, manifest } = readImage(layout);
    assert.is(layers.length, 1);
    assert.ok((manifest.layers[0]?.size ?? 0) < 2 * 1024 * 1024);
    assert.is(config.config?.User, "hello");
    assert.ok(
      layers[0]?.some((line) => line.startsWith("-rwxr-xr-x 0/0") && line.endsWith(" bin/hello")),
    );
  });
});
