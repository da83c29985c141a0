/** What the driver of S3 does when there is no room, and when downloads are slow or break off. */
import { randomBytes } from "node:crypto";

import { startUpload } from "../../conformance/checks.ts";
import { put, requireBlob } from "../../contract/blob-store.ts";
import { createClient, digestOf, errorCodes, withDigest } from "../../support/registry-client.ts";
import { aRegistryServer } from "../../support/registry-server.ts";
import { anS3Server, s3ServerMissing } from "../../support/s3-server.ts";
import { assert, suite, type Test } from "../../support/suite.ts";
import { aGate, aPlace, credentials, placeAt, slow } from "./place.ts";

const define = (test: Test): void => {
  test(
    "a full bucket is answered 507, keeps nothing of the push, and heals with the space",
    async () => {
      await using full = await anS3Server({ quotaBytes: 1_000_000 });
      const { open, keys } = placeAt(full.newAddress(), full.credentials);
      await using server = await aRegistryServer({ blobs: await open() });
      const client = createClient(server.url);
      const first = await client.pushBlob("a", randomBytes(600_000));
      const large = randomBytes(700_000);
      const path = withDigest("/v2/a/blobs/uploads/", digestOf(large));
      const refused = await client.send("POST", path, { body: large });
      assert.equal([refused.status, ...errorCodes(refused)], [507, "INSUFFICIENT_STORAGE"]);
      const url = await startUpload(client, "a");
      assert.is((await client.send("PATCH", url, { body: large })).status, 507);
      assert.is((await client.send("GET", url)).status, 404, "the upload is given up");
      assert.equal(await keys("uploads/"), []);
      assert.is((await client.send("DELETE", `/v2/a/blobs/${first}`)).status, 202);
      await client.pushBlob("a", large);
      assert.is((await keys("data/")).length, 1);
    },
    slow,
  );

  test(
    "slow downloads keep nobody else waiting",
    async () => {
      const store = await (await aPlace()).open({ partBytes: 8_000_000, operationMsMax: 60_000 });
      const name = await put(store, randomBytes(400_000));
      await using readers = new AsyncDisposableStack();
      const target = Buffer.alloc(1_000);
      // Each leaves an answer half taken; a client of HTTP has fewer connections by default.
      for (let count = 0; count < 60; count += 1) {
        const reader = readers.use(await requireBlob(store, name));
        await reader.read(target, 0);
        await reader.read(target, 1_000);
      }
      const other = await put(store, randomBytes(150_000));
      await using blob = await requireBlob(store, other);
      assert.is(await blob.read(target, 0), 1_000);
    },
    slow,
  );

  test(
    "a download whose connection breaks goes on by another one",
    async () => {
      const place = await aPlace();
      const content = randomBytes(2_000_000);
      const name = await put(await place.open({ partBytes: 8_000_000 }), content);
      let broken = 0;
      await using gate = await aGate(place, (client, server) => {
        let passed = 0;
        client.pipe(server);
        server.on("data", (chunk: Buffer) => {
          passed += chunk.length;
          client.write(chunk);
          // Once for each connection, and the first three of them.
          if (passed > 300_000 && broken < 3) {
            broken += 1;
            client.destroy();
          }
        });
      });
      const store = await placeAt(gate.address, credentials).open();
      await using blob = await requireBlob(store, name);
      const target = Buffer.alloc(64 * 1024);
      for (let start = 0; start < content.length; start += target.length) {
        const expected = content.subarray(start, start + target.length);
        assert.is(await blob.read(target, start), expected.length);
        assert.ok(target.subarray(0, expected.length).equals(expected), `differs at ${start}`);
      }
      assert.is(broken, 3);
    },
    slow,
  );
};

suite("transfers to and from a bucket of S3", (test) => {
  if (s3ServerMissing === undefined) define(test);
  else test.skip("survive what happens on the way", s3ServerMissing);
});
