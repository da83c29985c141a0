import { execFile, execFileSync } from "node:child_process";
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { promisify } from "node:util";

import { anImage, type BuiltImage } from "../support/images.ts";
import { aRegistryServer } from "../support/registry-server.ts";
import { assert, suite } from "../support/suite.ts";
import { aTemporaryDirectory } from "../support/temporary.ts";
import {
  aMultiImage,
  aReferrer,
  digestIn,
  putImage,
  putManifest,
  runAt,
} from "./support/store-images.ts";

const run = promisify(execFile);

async function inspectWithSkopeo(file: string, name: string): Promise<string> {
  const image = `oci-archive:${file}:${name}`;
  return (await run("skopeo", ["inspect", "--format", "{{.Digest}}", image])).stdout.trim();
}

/** cosign's tag for the signatures of an image. */
function signatureTag({ manifest }: BuiltImage): string {
  return `${manifest.digest.replace(":", "-")}.sig`;
}

suite("bundle", (test) => {
  test("carries an image with its signature, SBOM and their own referrers to another store", async () => {
    await using folder = aTemporaryDirectory();
    await using here = await aRegistryServer();
    await using there = await aRegistryServer();
    const file = join(folder.path, "b.tar");
    const [app, signature] = [anImage(), anImage()];
    const sbom = aReferrer(app, "application/spdx+json");
    const sbomSignature = aReferrer(sbom, "application/vnd.dev.cosign.artifact.sig.v1+json");
    await putImage(here.url, app, { repository: "team/app", reference: "1.0" });
    await putImage(here.url, sbom, { repository: "team/app", reference: sbom.manifest.digest });
    await putImage(here.url, sbomSignature, {
      repository: "team/app",
      reference: sbomSignature.manifest.digest,
    });
    await putImage(here.url, signature, { repository: "team/app", reference: signatureTag(app) });
    await putImage(here.url, anImage(), { repository: "other", reference: "1" });

    const created = await runAt(here.url, "bundle", "create", "team/app:1.0", "-o", file);
    assert.is(created.status, 0, created.stderr);
    const loaded = await runAt(there.url, "bundle", "load", file);
    assert.is(loaded.status, 0, loaded.stderr);

    assert.is(await digestIn(there.url, "team/app", "1.0"), app.manifest.digest);
    assert.is(await digestIn(there.url, "team/app", signatureTag(app)), signature.manifest.digest);
    for (const { manifest } of [sbom, sbomSignature]) {
      assert.is(await digestIn(there.url, "team/app", manifest.digest), manifest.digest);
    }
    const { stdout } = await runAt(there.url, "cartridge", "ls", "-o", "name");
    assert.is(stdout, "team/app\n", "what was not chosen stays behind");
  });

  test("of all images is an archive from which skopeo reads each by its name", async () => {
    await using folder = aTemporaryDirectory();
    await using here = await aRegistryServer();
    const file = join(folder.path, "b.tar");
    const layers = [
      execFileSync("tar", ["-czf", "-", "-C", folder.path, "--files-from=/dev/null"]),
    ];
    const [one, two] = [anImage({ layers }), anImage({ layers })];
    await putImage(here.url, one, { repository: "team/app", reference: "1.0" });
    await putImage(here.url, two, { repository: "team/app", reference: "2.0" });
    const { status, stdout, stderr } = await runAt(here.url, "bundle", "create", "-o", file);
    assert.is(status, 0, stderr);
    assert.match(stdout, ": 2 images in ");
    assert.is(await inspectWithSkopeo(file, "team/app:1.0"), one.manifest.digest);
    assert.is(await inspectWithSkopeo(file, "team/app:2.0"), two.manifest.digest);
    const copy = join(folder.path, "copy");
    await run("skopeo", ["copy", "-q", `oci-archive:${file}:team/app:2.0`, `dir:${copy}`]);
    assert.equal(readFileSync(join(copy, "manifest.json")), two.manifest.bytes);
  });

  test("is byte for byte the same when it is made again", async () => {
    await using folder = aTemporaryDirectory();
    await using here = await aRegistryServer();
    await putImage(here.url, anImage(), { repository: "a", reference: "1" });
    await putImage(here.url, anImage(), { repository: "b", reference: "1" });
    const files = [join(folder.path, "one.tar"), join(folder.path, "two.tar")] as const;
    await runAt(here.url, "bundle", "create", "a:1", "b:1", "-o", files[0]);
    await runAt(here.url, "bundle", "create", "b:1", "a:1", "-o", files[1]);
    assert.ok(readFileSync(files[0]).equals(readFileSync(files[1])));
  });

  test("carries an image for several architectures", async () => {
    await using folder = aTemporaryDirectory();
    await using here = await aRegistryServer();
    await using there = await aRegistryServer();
    const file = join(folder.path, "b.tar");
    const { index, children } = aMultiImage();
    for (const child of children) {
      await putImage(here.url, child, { repository: "app", reference: child.manifest.digest });
    }
    await putManifest(here.url, index.manifest, { repository: "app", reference: "latest" });
    await runAt(here.url, "bundle", "create", "app", "-o", file);
    const { status, stderr } = await runAt(there.url, "bundle", "load", file);
    assert.is(status, 0, stderr);
    assert.is(await digestIn(there.url, "app", "latest"), index.manifest.digest);
    for (const { manifest } of children) {
      assert.is(await digestIn(there.url, "app", manifest.digest), manifest.digest);
    }
  });

  test("that skopeo wrote is loaded, too", async () => {
    await using folder = aTemporaryDirectory();
    await using here = await aRegistryServer();
    await using there = await aRegistryServer();
    const file = join(folder.path, "skopeo.tar");
    const layers = [
      execFileSync("tar", ["-czf", "-", "-C", folder.path, "--files-from=/dev/null"]),
    ];
    await putImage(here.url, anImage({ layers }), { repository: "app", reference: "1" });
    const from = `docker://${here.host}/app:1`;
    await run("skopeo", [
      "copy",
      "-q",
      "--src-tls-verify=false",
      from,
      `oci-archive:${file}:x/app:1`,
    ]);
    const { status, stdout, stderr } = await runAt(there.url, "bundle", "load", file);
    assert.is(status, 0, stderr);
    assert.is(await digestIn(there.url, "x/app", "1"), stdout.split(" ")[1]?.trim());
  });

  test("changes nothing by --dry-run", async () => {
    await using folder = aTemporaryDirectory();
    await using here = await aRegistryServer();
    await using there = await aRegistryServer();
    const file = join(folder.path, "b.tar");
    const app = anImage();
    await putImage(here.url, app, { repository: "app", reference: "1" });
    await runAt(here.url, "bundle", "create", "-o", file);
    const { status, stdout } = await runAt(there.url, "bundle", "load", file, "--dry-run");
    assert.is(status, 0);
    assert.is(stdout, `app:1 ${app.manifest.digest} would be loaded\n`);
    assert.is((await runAt(there.url, "cartridge", "ls", "-o", "name")).stdout, "");
  });

  test("leaves the file that was there when it cannot be made", async () => {
    await using folder = aTemporaryDirectory();
    await using here = await aRegistryServer();
    const file = join(folder.path, "b.tar");
    writeFileSync(file, "precious");
    const { status, stderr } = await runAt(here.url, "bundle", "create", "no/such", "-o", file);
    assert.is(status, 1);
    assert.match(stderr, "the store has no image no/such:latest");
    assert.is(readFileSync(file, "utf8"), "precious");
  });
});
