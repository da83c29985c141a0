import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";

import { anImage, type BuiltImage } from "../support/images.ts";
import { aRegistryServer } from "../support/registry-server.ts";
import {
  aBundledSignature,
  aPayload,
  aSignature,
  aSigner,
  type Signer,
  signatureTagOf,
} from "../support/signatures.ts";
import { assert, suite } from "../support/suite.ts";
import { aTemporaryDirectory } from "../support/temporary.ts";
import type { CliResult } from "./support/run-cli.ts";
import { aReferrer, digestIn, putImage, runAt } from "./support/store-images.ts";

type Attached = { readonly image: BuiltImage; readonly reference: string };

/** Bundles an image with what is attached to it, and loads that with the signer's key. */
async function loadWith(
  app: BuiltImage,
  attached: readonly Attached[],
  signer: Signer,
): Promise<CliResult & { readonly digest: string | undefined }> {
  await using folder = aTemporaryDirectory();
  await using here = await aRegistryServer();
  await using there = await aRegistryServer();
  const [file, key] = [join(folder.path, "b.tar"), join(folder.path, "cosign.pub")];
  writeFileSync(key, signer.pem);
  await putImage(here.url, app, { repository: "app", reference: "1" });
  for (const { image, reference } of attached) {
    await putImage(here.url, image, { repository: "app", reference });
  }
  const made = await runAt(here.url, "bundle", "create", "app:1", "-o", file);
  assert.is(made.status, 0, made.stderr);
  const result = await runAt(there.url, "bundle", "load", file, "--verify-key", key);
  return { ...result, digest: await digestIn(there.url, "app", "1") };
}

const byTag = (app: BuiltImage, image: BuiltImage): Attached => ({
  image,
  reference: signatureTagOf(app.manifest),
});
const byReferrer = (image: BuiltImage): Attached => ({ image, reference: image.manifest.digest });

suite("bundle load --verify-key", (test) => {
  const signer = aSigner();
  const app = anImage();
  const { manifest } = app;

  for (const [form, attached] of [
    ["by its tag", byTag(app, aSignature(manifest, { signer }))],
    ["by a referrer", byReferrer(aSignature(manifest, { signer, isReferrer: true }))],
    ["in a bundle of version 3", byReferrer(aBundledSignature(manifest, { signer }))],
  ] as const) {
    test(`takes an image that is signed ${form}`, async () => {
      const sbom = byReferrer(aReferrer(app, "application/spdx+json"));
      const { status, stderr, digest } = await loadWith(app, [sbom, attached], signer);
      assert.is(status, 0, stderr);
      assert.is(digest, manifest.digest);
    });
  }

  const refused: readonly (readonly [string, readonly Attached[], RegExp])[] = [
    ["has no signature", [], /it has no signature/],
    [
      "is signed by somebody else",
      [byTag(app, aSignature(manifest, { signer: aSigner() }))],
      /none of its 1 signatures is by a key that counts/,
    ],
    [
      "has the signature of another image",
      [byTag(app, aSignature(manifest, { signer, payload: aPayload(anImage().manifest.digest) }))],
      /its signature by .*cosign.pub is for something else/,
    ],
    [
      "has a signature that was tampered with",
      [
        byTag(
          app,
          aSignature(manifest, { signer, stored: aPayload(manifest.digest, { identity: {} }) }),
        ),
      ],
      /none of its 1 signatures/,
    ],
  ];
  for (const [name, attached, words] of refused) {
    test(`refuses an image that ${name}, and writes nothing`, async () => {
      const { status, stderr, digest } = await loadWith(app, attached, signer);
      assert.is(status, 1, stderr);
      assert.match(stderr, words);
      assert.is(digest, undefined);
    });
  }

  test("refuses a file that is no public key", async () => {
    await using folder = aTemporaryDirectory();
    await using server = await aRegistryServer();
    const file = join(folder.path, "key");
    const secret = signer.privateKey.export({ type: "pkcs8", format: "pem" });
    for (const text of ["", "x", secret]) {
      writeFileSync(file, text);
      const { status, stderr } = await runAt(
        server.url,
        "bundle",
        "load",
        "b",
        "--verify-key",
        file,
      );
      assert.is(status, 2);
      assert.match(stderr, "error: the key ");
    }
  });
});

suite("bundle create --agent --policies", (test) => {
  test("refuses to write files that no signature covers", async () => {
    await using server = await aRegistryServer();
    await using folder = aTemporaryDirectory();
    const key = join(folder.path, "key");
    writeFileSync(key, aSigner().pem);
    const args = ["bundle", "load", "b.tar", "--verify-key", key, "--files", folder.path];
    const { status, stderr } = await runAt(server.url, ...args);
    assert.is(status, 2);
    assert.match(stderr, "the files of a bundle are not signed");
    assert.ok(readFileSync(key, "utf8").length > 0);
  });
});
