import { randomBytes } from "node:crypto";
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";

import { createFileSystemSync } from "@strata/agent/image/sync";
import { selfCommand } from "@strata/agent/self-exec";
import { parseDigest } from "@strata/protocol/oci/digest";

import { anIndex, describeManifest } from "../../support/images.ts";
import { digestOf } from "../../support/registry-client.ts";
import { aRegistryServer } from "../../support/registry-server.ts";
import { assert, rejectsWithCode, suite } from "../../support/suite.ts";
import { aTar, dir, file } from "../layer/tar-builder.ts";
import { anAppImage, pushApp } from "./an-app-image.ts";
import { anImageStore, layerPath } from "./an-image-store.ts";
import { anUnsteadyProxy } from "./unsteady-proxy.ts";

const base = aTar([dir("bin"), file("bin/app", "application", { mode: 0o755 })]);
const top = aTar([dir("etc"), file("etc/config", "settings"), file("bin/.wh.app")]);

suite("image store: pulling from our registry", (test) => {
  test("unpacks every layer under its diffId and gives the config back", async () => {
    await using registry = await aRegistryServer();
    await using images = anImageStore(registry.url);
    const image = anAppImage([base, top]);
    const ready = await images.pull(await pushApp(registry.url, image));
    assert.equal(
      ready.layers.map(({ diffId }) => diffId),
      image.diffIds,
    );
    assert.equal(
      ready.layers.map(({ directory }) => directory),
      image.diffIds.map((id) => layerPath(images.directory, id)),
    );
    assert.equal(ready.config.config?.Cmd, ["/bin/true"]);
    assert.is(
      readFileSync(join(ready.layers[0]?.directory ?? "", "bin/app"), "utf8"),
      "application",
    );
    assert.equal(images.incoming(), []);
  });

  test("needs no registry for an image that is here, also in a later life", async () => {
    await using images = anImageStore("http://127.0.0.1:1");
    await using registry = await aRegistryServer();
    await using pulling = anImageStore(registry.url, { directory: images.directory });
    const digest = await pushApp(registry.url, anAppImage([base]));
    await pulling.pull(digest);
    const ready = await images.pull(digest);
    assert.is(ready.layers.length, 1);
  });

  test("takes this machine's image out of an index", async () => {
    await using registry = await aRegistryServer();
    await using images = anImageStore(registry.url);
    const foreign = anAppImage([top], { platform: { architecture: "arm64" } });
    const own = anAppImage([base]);
    const index = anIndex([
      { ...describeManifest(foreign.manifest), platform: { os: "linux", architecture: "arm64" } },
      { ...describeManifest(own.manifest), platform: { os: "linux", architecture: "amd64" } },
    ]);
    await pushApp(registry.url, foreign);
    await pushApp(registry.url, own);
    const ready = await images.pull(await pushApp(registry.url, { manifest: index, blobs: [] }));
    assert.is(ready.digest, index.digest);
    assert.is(ready.manifestDigest, own.manifest.digest);
    assert.equal(
      ready.layers.map(({ diffId }) => diffId),
      own.diffIds,
    );
  });

  test("goes on where a connection broke, again and again", async () => {
    await using registry = await aRegistryServer();
    await using proxy = await anUnsteadyProxy(registry.url, {
      bytesPerConnection: 200_000,
      cutsMax: 8,
    });
    await using images = anImageStore(proxy.url);
    const content = randomBytes(2_000_000);
    const ready = await images.pull(
      await pushApp(registry.url, anAppImage([aTar([file("large", content.toString("latin1"))])])),
    );
    assert.ok(readFileSync(join(ready.layers[0]?.directory ?? "", "large")).equals(content));
    assert.is(proxy.cuts(), 8);
  });

  test("pulls once for callers at the same time, and a layer once for two images", async () => {
    let pulls = 0;
    await using registry = await aRegistryServer({
      authorize: ({ action }) => {
        if (action === "pull") pulls += 1;
        return { kind: "allowed", subject: "tester" };
      },
    });
    await using images = anImageStore(registry.url);
    const digests = [
      await pushApp(registry.url, anAppImage([base])),
      await pushApp(registry.url, anAppImage([base], { fields: { annotations: { a: "b" } } })),
    ];
    pulls = 0;
    await Promise.all([...digests, ...digests, ...digests].map((digest) => images.pull(digest)));
    // Two manifests, one layer, and the config, which each of the two may be first to ask for.
    assert.ok(pulls <= 5, `${pulls} requests were made`);
    assert.is(images.layers().length, 1);
  });

  test("tells how far it is", async () => {
    await using registry = await aRegistryServer();
    await using images = anImageStore(registry.url);
    const seen: string[] = [];
    const digest = await pushApp(registry.url, anAppImage([base, top]));
    await images.pull(digest, {
      onProgress: ({ layersReady, layers, receivedBytes, totalBytes }) =>
        seen.push(`${layersReady}/${layers} ${receivedBytes === totalBytes}`),
    });
    assert.is(seen.at(-1), "2/2 true");
  });

  test("runs the agent itself to unpack, and syncs the disk", async () => {
    await using registry = await aRegistryServer();
    await using images = anImageStore(registry.url, {
      runner: selfCommand(),
      sync: createFileSystemSync("/tmp"),
    });
    const ready = await images.pull(await pushApp(registry.url, anAppImage([base])));
    assert.is(ready.layers.length, 1);
  });

  test("leaves out the layers below an opaque root, and the lower of equal layers", async () => {
    await using registry = await aRegistryServer();
    await using images = anImageStore(registry.url);
    const opaque = aTar([file(".wh..wh..opq"), file("only")]);
    const image = anAppImage([base, opaque, top, top]);
    const ready = await images.pull(await pushApp(registry.url, image));
    assert.equal(
      ready.layers.map(({ diffId }) => diffId),
      [image.diffIds[1], image.diffIds[2]],
    );
  });
});

suite("image store: what it keeps", (test) => {
  test("sweeps what an earlier life left half done", async () => {
    await using images = anImageStore("http://127.0.0.1:1");
    mkdirSync(join(images.directory, "incoming", "layer-abc", "fs"), { recursive: true });
    await using later = anImageStore("http://127.0.0.1:1", { directory: images.directory });
    await rejectsWithCode(later.pull(digestOf(base)), "REGISTRY_UNREACHABLE");
    assert.equal(images.incoming(), []);
  });

  test("fetches a manifest again that was damaged on disk", async () => {
    await using registry = await aRegistryServer();
    await using images = anImageStore(registry.url);
    const digest = await pushApp(registry.url, anAppImage([base]));
    await images.pull(digest);
    const path = join(images.directory, "contents", digest.replace(":", "/"));
    writeFileSync(path, "damaged");
    await images.pull(digest);
    assert.not.equal(readFileSync(path, "utf8"), "damaged");
  });

  test("unpacks a layer again whose record was damaged on disk", async () => {
    await using registry = await aRegistryServer();
    await using images = anImageStore(registry.url);
    const image = anAppImage([base]);
    const digest = await pushApp(registry.url, image);
    const [layer] = (await images.pull(digest)).layers;
    writeFileSync(join(layer?.directory ?? "", "..", "layer.json"), "{");
    await images.pull(digest);
    assert.is(readFileSync(join(layer?.directory ?? "", "bin/app"), "utf8"), "application");
  });

  test("lists images, and removes one with all that no other needs", async () => {
    await using registry = await aRegistryServer();
    await using images = anImageStore(registry.url);
    const [small, large] = [anAppImage([base]), anAppImage([base, top])];
    await images.pull(await pushApp(registry.url, small));
    await images.pull(await pushApp(registry.url, large));
    assert.equal(
      new Set(images.store.list().map(({ digest }) => digest)),
      new Set([small.manifest.digest, large.manifest.digest]),
    );
    await images.store.remove(parseDigest(large.manifest.digest));
    assert.equal(
      images.layers().map((hex) => `sha256:${hex}`),
      small.diffIds,
    );
    assert.equal(
      images.store.list().map(({ digest }) => digest),
      [small.manifest.digest],
    );
    await images.store.remove(parseDigest(small.manifest.digest));
    assert.equal([images.layers(), images.store.list()], [[], []]);
  });
});
