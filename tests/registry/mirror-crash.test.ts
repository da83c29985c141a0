/** A store that is killed while it fetches comes back clean. */
import { readdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";

import { aDockerRegistry, aRelay } from "../support/docker-registry.ts";
import { anImage } from "../support/images.ts";
import { missingPrograms } from "../support/installed.ts";
import { expectImage, pushTo } from "../support/mirror-scene.ts";
import { createClient, digestOf, randomBlob } from "../support/registry-client.ts";
import { aStandAloneStore } from "../support/stand-alone-store.ts";
import { assert, suite } from "../support/suite.ts";
import { aTemporaryDirectory } from "../support/temporary.ts";

suite("a mirror that is killed", (test) => {
  if (missingPrograms(["docker-registry"]).length > 0) {
    test.skip("in mid blob", "needs docker-registry");
    return;
  }

  test(
    "in mid blob keeps nothing of it, and what it had; then the blob comes",
    async () => {
      await using folder = aTemporaryDirectory();
      const { path } = folder;
      await using upstream = await aDockerRegistry({ folder: join(path, "upstream") });
      await using relay = await aRelay(upstream.url);
      const source = createClient(upstream.url);
      const [first, second] = [anImage(), anImage({ layers: [randomBlob(6_000_000)] })];
      await pushTo(source, ["one", "v1"], first);
      await pushTo(source, ["two", "v1"], second);
      const config = join(path, "store.yaml");
      writeFileSync(config, `mirrors: [{ prefix: hub, upstream: "${relay.url}" }]\n`);
      const data = join(path, "store");
      const layer = digestOf(second.blobs[1] ?? Buffer.alloc(0));
      const held = Promise.withResolvers<void>();
      {
        await using store = await aStandAloneStore(data, ["--config", config]);
        await expectImage(createClient(store.url), "hub/one", first);
        relay.onAnswer = (url) =>
          url.includes(layer)
            ? {
                afterBytes: 3_000_000,
                wait: new Promise(() => undefined),
                onHeld: held.resolve,
                cut: true,
              }
            : undefined;
        const broken = createClient(store.url)
          .send("GET", `/v2/hub/two/blobs/${layer}`)
          .then(
            () => "whole",
            () => "cut off",
          );
        await held.promise;
        await store[Symbol.asyncDispose]();
        assert.is(await broken, "cut off");
      }
      relay.onAnswer = undefined;
      await using store = await aStandAloneStore(data, ["--config", config]);
      assert.equal(readdirSync(join(data, "uploads")), []);
      const client = createClient(store.url);
      await expectImage(client, "hub/two", second);
      await upstream.kill();
      await expectImage(client, "hub/one", first);
      assert.is(await store.stop(), 0);
    },
    { timeoutMs: 150_000 },
  );
});
