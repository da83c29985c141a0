/** The controller's own store with its blobs in a bucket. */
import { existsSync } from "node:fs";
import { join } from "node:path";

import { readConfig } from "@strata/controller/config";

import { aControllerProcess } from "../../support/controller-process.ts";
import { pushImage } from "../../support/push-image.ts";
import { s3ServerMissing, theS3Server } from "../../support/s3-server.ts";
import { assert, suite, throwsWithCode } from "../../support/suite.ts";
import { placeAt } from "./place.ts";

suite("STRATA_BLOBS", (test) => {
  test("is refused when it is no address of a bucket", () => {
    for (const text of ["/var/lib/blobs", "s3://key:secret@bucket"]) {
      const error = throwsWithCode(() => readConfig({ STRATA_BLOBS: text }), "SETTING_INVALID");
      assert.match(error.message, /STRATA_BLOBS is not s3:/);
      assert.not.match(error.message, /secret/);
    }
    assert.is(readConfig({ STRATA_BLOBS: "" }).bucket, undefined);
  });

  if (s3ServerMissing !== undefined) {
    test.skip("keeps the controller's images in a bucket", s3ServerMissing);
    return;
  }
  test(
    "keeps the controller's images in a bucket, also over a restart",
    async () => {
      const { newAddress, credentials } = await theS3Server();
      const address = newAddress();
      const environment = {
        STRATA_BLOBS: address,
        AWS_ACCESS_KEY_ID: credentials.accessKeyId,
        AWS_SECRET_ACCESS_KEY: credentials.secretAccessKey,
      };
      await using controller = await aControllerProcess({ environment });
      const token = controller.adminToken();
      await pushImage({ url: controller.url, token }, { repository: "hello", tag: "1" });
      const { keys } = placeAt(address, credentials);
      const blobs = await keys("blobs/");
      assert.ok(blobs.length > 0);
      assert.not(existsSync(join(controller.dataDirectory, "store", "blobs")));
      await controller.kill("SIGKILL");
      await controller.start();
      const cartridge = { image: "hello:1" };
      const put = await controller.call("PUT", "/v1/cartridges/hello", { body: cartridge });
      assert.is(put.status, 201, JSON.stringify(put.body));
      const digest = blobs[0]?.slice("blobs/".length).replace("/", ":");
      const { status } = await controller.call("GET", `/v2/hello/blobs/${digest}`);
      assert.is(status, 200);
    },
    // Two starts of a controller, on top.
    { timeoutMs: 160_000 },
  );
});
