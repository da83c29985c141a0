/** The controller's store mirrors too: a cartridge may name an image that is still elsewhere. */
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { gzipSync } from "node:zlib";

import { aControllerProcess } from "../support/controller-process.ts";
import { aDockerRegistry } from "../support/docker-registry.ts";
import { anImage, type BuiltImage } from "../support/images.ts";
import { missingPrograms } from "../support/installed.ts";
import { pushTo } from "../support/mirror-scene.ts";
import { createClient, digestOf } from "../support/registry-client.ts";
import { assert, suite } from "../support/suite.ts";
import { aTemporaryDirectory } from "../support/temporary.ts";

function aRunnableImage(): BuiltImage {
  const tar = Buffer.alloc(1024);
  const config = {
    architecture: "amd64",
    os: "linux",
    config: { Cmd: ["/bin/true"] },
    rootfs: { type: "layers", diff_ids: [digestOf(tar)] },
  };
  return anImage({ config: Buffer.from(JSON.stringify(config)), layers: [gzipSync(tar)] });
}

suite("mirrors of the controller", (test) => {
  if (missingPrograms(["docker-registry"]).length > 0) {
    test.skip("images from elsewhere", "needs docker-registry");
    return;
  }

  test(
    "a cartridge names an image of the upstream, which is here from then on",
    async () => {
      await using folder = aTemporaryDirectory();
      await using upstream = await aDockerRegistry({ folder: join(folder.path, "upstream") });
      const file = join(folder.path, "mirrors.yaml");
      writeFileSync(file, `mirrors: [{ prefix: hub, upstream: "${upstream.url}" }]\n`);
      await using controller = await aControllerProcess({ environment: { STRATA_MIRRORS: file } });
      const image = aRunnableImage();
      await pushTo(createClient(upstream.url), ["team/app", "1"], image);
      const { digest } = image.manifest;
      const put = await controller.call("PUT", "/v1/cartridges/app", {
        body: { image: "hub/team/app:1" },
      });
      assert.is(put.status, 201, JSON.stringify(put.body));
      assert.match(JSON.stringify(put.body), digest);
      await upstream.kill();
      const manifest = await controller.call("GET", `/v2/hub/team/app/manifests/${digest}`);
      assert.is(manifest.status, 200);
      const absent = await controller.call("PUT", "/v1/cartridges/other", {
        body: { image: "hub/team/other:1" },
      });
      assert.ok(absent.status >= 400 && absent.status < 500, JSON.stringify(absent.body));
    },
    { timeoutMs: 120_000 },
  );
});
