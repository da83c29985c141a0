import { statSync } from "node:fs";
import { join } from "node:path";

import { anImage } from "../support/images.ts";
import { randomBlob } from "../support/registry-client.ts";
import { aRegistryServer } from "../support/registry-server.ts";
import { assert, suite } from "../support/suite.ts";
import { aTemporaryDirectory } from "../support/temporary.ts";
import { digestIn, putImage, runAt } from "./support/store-images.ts";

const MIB = 1024 * 1024;

suite("bundle create --base", (test) => {
  test("leaves out what the earlier bundle brought, also through a chain of them", async () => {
    await using folder = aTemporaryDirectory();
    await using here = await aRegistryServer();
    await using there = await aRegistryServer();
    const shared = randomBlob(2 * MIB);
    const images = [1, 2, 3].map(() => anImage({ layers: [shared, randomBlob(1000)] }));
    const files: string[] = [];
    for (const [index, image] of images.entries()) {
      await putImage(here.url, image, { repository: "app", reference: `${index}` });
      const file = join(folder.path, `${index}.tar`);
      const last = files.at(-1);
      const base = last === undefined ? [] : ["--base", last];
      const made = await runAt(here.url, "bundle", "create", `app:${index}`, "-o", file, ...base);
      assert.is(made.status, 0, made.stderr);
      files.push(file);
    }
    const [first, second, third] = files.map((file) => statSync(file).size);
    assert.ok((first ?? 0) > 2 * MIB);
    assert.ok((second ?? MIB) < 20_000 && (third ?? MIB) < 20_000, `${second} and ${third} bytes`);
    for (const file of files) {
      const { status, stderr } = await runAt(there.url, "bundle", "load", file);
      assert.is(status, 0, stderr);
    }
    for (const [index, { manifest }] of images.entries()) {
      assert.is(await digestIn(there.url, "app", `${index}`), manifest.digest);
    }
  });

  test("cannot be loaded before the bundle that it builds on", async () => {
    await using folder = aTemporaryDirectory();
    await using here = await aRegistryServer();
    await using there = await aRegistryServer();
    const shared = randomBlob();
    const [full, small] = [join(folder.path, "full.tar"), join(folder.path, "small.tar")];
    await putImage(here.url, anImage({ layers: [shared] }), { repository: "app", reference: "1" });
    const { stdout } = await runAt(here.url, "bundle", "create", "app:1", "-o", full, "-q");
    await putImage(here.url, anImage({ layers: [shared] }), { repository: "app", reference: "2" });
    await runAt(here.url, "bundle", "create", "app:2", "-o", small, "--base", full);
    for (const args of [["--dry-run"], []]) {
      const { status, stderr } = await runAt(there.url, "bundle", "load", small, ...args);
      assert.is(status, 2);
      assert.match(stderr, "which the store lacks");
      assert.match(stderr, `load the bundle that it builds on first: ${stdout.trim()}`);
    }
    assert.is(await digestIn(there.url, "app", "2"), undefined);
  });

  test("finds what is left out in whatever repository of the other side has it", async () => {
    await using folder = aTemporaryDirectory();
    await using here = await aRegistryServer();
    await using there = await aRegistryServer();
    const shared = randomBlob(MIB);
    const [full, small] = [join(folder.path, "full.tar"), join(folder.path, "small.tar")];
    await putImage(here.url, anImage({ layers: [shared] }), { repository: "one", reference: "1" });
    await runAt(here.url, "bundle", "create", "-o", full);
    const two = anImage({ layers: [shared] });
    await putImage(here.url, two, { repository: "two", reference: "1" });
    await runAt(here.url, "bundle", "create", "two:1", "-o", small, "--base", full);
    assert.ok(statSync(small).size < 20_000);
    await runAt(there.url, "bundle", "load", full);
    const { status, stderr } = await runAt(there.url, "bundle", "load", small);
    assert.is(status, 0, stderr);
    assert.is(await digestIn(there.url, "two", "1"), two.manifest.digest);
  });
});
