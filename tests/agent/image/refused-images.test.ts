import { gzipSync } from "node:zlib";

import { defaultImageLimits } from "@strata/agent/image/image-limits";
import { mediaTypes } from "@strata/protocol/oci/media-type";

import { anImage, anIndex, describeManifest } from "../../support/images.ts";
import { digestOf } from "../../support/registry-client.ts";
import { aRegistryServer } from "../../support/registry-server.ts";
import { assert, rejectsWithCode, suite } from "../../support/suite.ts";
import { aTar, dir, file } from "../layer/tar-builder.ts";
import { type AppImage, anAppImage, pushApp } from "./an-app-image.ts";
import { anImageStore, type TestStore } from "./an-image-store.ts";
import { aStaticRegistry, type StaticAnswer, type StaticRegistry } from "./static-registry.ts";

const archive = aTar([dir("a"), file("a/b", "content")]);

/** What a registry would answer for an image, ready to be falsified. */
function answersFor({ manifest, blobs }: AppImage): Record<string, StaticAnswer> {
  return {
    [`/v2/app/manifests/${manifest.digest}`]: { type: manifest.mediaType, body: manifest.bytes },
    ...Object.fromEntries(blobs.map((blob) => [`/v2/app/blobs/${digestOf(blob)}`, { body: blob }])),
  };
}

function layerPathOf(image: AppImage): string {
  return `/v2/app/blobs/${digestOf(image.blobs[1] ?? Buffer.alloc(0))}`;
}

async function assertPullFails(
  registry: StaticRegistry,
  digest: string,
  code: string,
): Promise<Error> {
  await using images = anImageStore(registry.url);
  const error = await rejectsWithCode(images.pull(digest), code);
  assertNothingVisible(images);
  return error;
}

function assertNothingVisible(images: TestStore): void {
  assert.equal(images.layers(), []);
  assert.equal(images.incoming(), []);
  assert.equal(images.store.list(), []);
}

suite("image store: bytes that are not what they should be", (test) => {
  const image = anAppImage([archive]);
  const [, layer = Buffer.alloc(0)] = image.blobs;
  const falsified: Readonly<Record<string, Buffer>> = {
    "another layer of the same length": Buffer.from(
      layer.map((byte, index) => (index === 20 ? byte ^ 1 : byte)),
    ),
    "a good archive of another content": gzipSync(aTar([dir("a"), file("a/b", "CONTENT")])),
    "a layer that is too long": Buffer.concat([layer, Buffer.from("more")]),
    "a hostile layer in its place": gzipSync(aTar([file("../escape")])),
  };
  for (const [title, body] of Object.entries(falsified)) {
    test(`${title} is a digest mismatch, and nothing is visible`, async () => {
      await using registry = await aStaticRegistry({
        ...answersFor(image),
        [layerPathOf(image)]: { body },
      });
      const code = body.length < layer.length ? "REGISTRY_UNREACHABLE" : "LAYER_DIGEST_MISMATCH";
      await assertPullFails(registry, image.manifest.digest, code);
    });
  }

  test("a layer that is too short is asked for again, then given up", async () => {
    const body = layer.subarray(0, 50);
    await using registry = await aStaticRegistry({
      ...answersFor(image),
      [layerPathOf(image)]: { body },
    });
    await assertPullFails(registry, image.manifest.digest, "REGISTRY_UNREACHABLE");
    assert.ok(registry.requests.filter((path) => path === layerPathOf(image)).length > 1);
  });

  test("a config with another diffId is a digest mismatch, and nothing is visible", async () => {
    const wrong = anAppImage([archive], { diffIds: [digestOf(Buffer.from("other"))] });
    await using registry = await aStaticRegistry(answersFor(wrong));
    const { message } = await assertPullFails(
      registry,
      wrong.manifest.digest,
      "LAYER_DIGEST_MISMATCH",
    );
    assert.match(message, /the config says/);
  });

  test("a manifest with other bytes", async () => {
    const path = `/v2/app/manifests/${image.manifest.digest}`;
    const body = anAppImage([aTar([file("x")])]).manifest.bytes;
    await using registry = await aStaticRegistry({
      ...answersFor(image),
      [path]: { type: mediaTypes.manifest, body },
    });
    await assertPullFails(registry, image.manifest.digest, "MANIFEST_DIGEST_MISMATCH");
  });

  test("a manifest under an index's media type", async () => {
    const path = `/v2/app/manifests/${image.manifest.digest}`;
    const { bytes: body } = image.manifest;
    await using registry = await aStaticRegistry({
      ...answersFor(image),
      [path]: { type: mediaTypes.index, body },
    });
    await assertPullFails(registry, image.manifest.digest, "IMAGE_INVALID");
  });

  test("a hostile layer is refused with the entry's name, and nothing is visible", async () => {
    const hostile = anAppImage([archive, aTar([file("../escape")])]);
    await using registry = await aStaticRegistry(answersFor(hostile));
    await using images = anImageStore(registry.url);
    const { message } = await rejectsWithCode(
      images.pull(hostile.manifest.digest),
      "LAYER_REFUSED",
    );
    assert.match(message, /"\.\.\/escape"/);
    assert.equal(images.incoming(), []);
    assert.equal(images.store.list(), []);
  });
});

suite("image store: images that cannot run here", (test) => {
  const cases: Readonly<Record<string, readonly [AppImage, string]>> = {
    "another architecture": [
      anAppImage([archive], { platform: { architecture: "s390x" } }),
      "IMAGE_UNSUPPORTED",
    ],
    "another system": [anAppImage([archive], { platform: { os: "windows" } }), "IMAGE_UNSUPPORTED"],
    "more diffIds than layers": [
      anAppImage([archive], { diffIds: [digestOf(archive), digestOf(archive)] }),
      "IMAGE_INVALID",
    ],
    "an encrypted layer": [
      anAppImage([archive], { layerType: "application/vnd.oci.image.layer.v1.tar+gzip+encrypted" }),
      "IMAGE_UNSUPPORTED",
    ],
    "an artifact": [
      anAppImage([archive], { configType: "application/vnd.cncf.helm.config.v1+json" }),
      "IMAGE_UNSUPPORTED",
    ],
    "no layers": [anAppImage([]), "IMAGE_UNSUPPORTED"],
    "both manifest and index": [
      anAppImage([archive], { fields: { manifests: [] } }),
      "IMAGE_INVALID",
    ],
    "a config that is none": [{ ...anImage(), diffIds: [] }, "IMAGE_INVALID"],
  };
  for (const [title, [image, code]] of Object.entries(cases)) {
    test(title, async () => {
      await using registry = await aStaticRegistry(answersFor(image));
      await assertPullFails(registry, image.manifest.digest, code);
    });
  }

  test("an index without this architecture", async () => {
    const index = anIndex([
      { ...describeManifest(anImage().manifest), platform: { os: "linux", architecture: "s390x" } },
    ]);
    await using registry = await aStaticRegistry(
      answersFor({ manifest: index, blobs: [], diffIds: [] }),
    );
    await assertPullFails(registry, index.digest, "IMAGE_UNSUPPORTED");
  });

  test("more bytes than an image may hold", async () => {
    const image = anAppImage([archive]);
    await using registry = await aStaticRegistry(answersFor(image));
    await using images = anImageStore(registry.url, {
      limits: { ...defaultImageLimits, imageBytesMax: 1000 },
    });
    await rejectsWithCode(images.pull(image.manifest.digest), "LAYER_LIMIT");
    assert.equal(images.store.list(), []);
  });
});

suite("image store: registries that do not help", (test) => {
  const image = anAppImage([archive]);
  const path = `/v2/app/manifests/${image.manifest.digest}`;
  const statuses: readonly (readonly [number, string])[] = [
    [404, "IMAGE_NOT_FOUND"],
    [401, "REGISTRY_DENIED"],
    [403, "REGISTRY_DENIED"],
    [503, "REGISTRY_UNREACHABLE"],
    [429, "REGISTRY_UNREACHABLE"],
    [302, "REGISTRY_ANSWER_INVALID"],
  ];
  for (const [status, code] of statuses) {
    test(`${status} is ${code}`, async () => {
      await using registry = await aStaticRegistry({ [path]: { status, body: "" } });
      await assertPullFails(registry, image.manifest.digest, code);
    });
  }

  test("nobody listens", async () => {
    await using images = anImageStore("http://127.0.0.1:1");
    await rejectsWithCode(images.pull(image.manifest.digest), "REGISTRY_UNREACHABLE");
  });

  test("a layer that is missing is told apart from an image that is missing", async () => {
    const { [layerPathOf(image)]: _gone, ...answers } = answersFor(image);
    await using registry = await aStaticRegistry(answers);
    await assertPullFails(registry, image.manifest.digest, "LAYER_NOT_FOUND");
  });

  test("a process that cannot unpack is no fault of the image", async () => {
    await using registry = await aStaticRegistry(answersFor(image));
    await using images = anImageStore(registry.url, { runner: { file: "/bin/false", args: [] } });
    await rejectsWithCode(images.pull(image.manifest.digest), "UNPACK_FAILED");
    assertNothingVisible(images);
  });

  test("a program that is not there is no fault of the image", async () => {
    await using registry = await aStaticRegistry(answersFor(image));
    await using images = anImageStore(registry.url, { runner: { file: "/nonexistent", args: [] } });
    await rejectsWithCode(images.pull(image.manifest.digest), "UNPACK_FAILED");
    assertNothingVisible(images);
  });
});

suite("image store: callers that give up", (test) => {
  test("one of two leaves the pull to the other", async () => {
    await using registry = await aRegistryServer();
    await using images = anImageStore(registry.url);
    const digest = await pushApp(registry.url, anAppImage([archive]));
    const abort = new AbortController();
    const first = images.pull(digest, { signal: abort.signal });
    const second = images.pull(digest);
    abort.abort();
    await rejectsWithCode(first, "PULL_ABORTED");
    assert.is((await second).layers.length, 1);
  });

  test("the last one ends the pull, and nothing is left", async () => {
    await using registry = await aRegistryServer();
    await using images = anImageStore(registry.url);
    const digest = await pushApp(registry.url, anAppImage([archive]));
    const abort = new AbortController();
    const pull = images.pull(digest, { signal: abort.signal, onProgress: () => abort.abort() });
    await rejectsWithCode(pull, "PULL_ABORTED");
    assertNothingVisible(images);
  });

  test("a caller that gave up before asks for nothing", async () => {
    await using registry = await aStaticRegistry({});
    await using images = anImageStore(registry.url);
    await rejectsWithCode(
      images.pull(digestOf(archive), { signal: AbortSignal.abort() }),
      "PULL_ABORTED",
    );
    assert.equal(registry.requests, []);
  });
});
