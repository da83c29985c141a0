/** What the driver of S3 does with what crashes, other programs and rules of the bucket did to its data. */
import { randomBytes } from "node:crypto";

import { parseDigest } from "@strata/protocol/oci/digest";

import { startUpload } from "../../conformance/checks.ts";
import { append, put, readAll, requireBlob, requireUpload } from "../../contract/blob-store.ts";
import { anImage } from "../../support/images.ts";
import { createClient, digestOf, withDigest } from "../../support/registry-client.ts";
import { aRegistryServer } from "../../support/registry-server.ts";
import { s3ServerMissing } from "../../support/s3-server.ts";
import { assert, rejectsWithCode, suite, type Test } from "../../support/suite.ts";
import { aPlace, ownerIn, slow } from "./place.ts";

const define = (test: Test): void => {
  test(
    "what a crash left is removed at the next start, and what is in use stays",
    async () => {
      const { open, bucket, keys } = await aPlace();
      const store = await open();
      const kept = await put(store, randomBytes(250_000));
      await store.createUpload("resumed");
      {
        await using upload = await requireUpload(store, "resumed");
        await append(upload, randomBytes(250_000));
      }
      // A name that was not taken away yet, one that was, and a multipart upload that was not written down.
      const record = await bucket.getWhole(`blobs/${kept.replace(":", "/")}`);
      const gone = await put(store, randomBytes(250_000));
      const goneRecord = await bucket.getWhole(`blobs/${gone.replace(":", "/")}`);
      await bucket.delete(`blobs/${gone.replace(":", "/")}`);
      await bucket.put("trash/one", record ?? Buffer.alloc(0));
      await bucket.put(`trash/${ownerIn(goneRecord)}`, goneRecord ?? Buffer.alloc(0));
      const unknown = await bucket.createMultipart("data/nobody/0");
      await bucket.putPart(unknown, { number: 1, body: randomBytes(1_000) });

      const after = await open();
      assert.equal(await keys("trash/"), []);
      const data = (await keys("data/")).map((key) => key.split("/")[1]);
      assert.equal([...new Set(data)], [ownerIn(record)]);
      const left = await Array.fromAsync(bucket.listMultiparts("data/"));
      assert.is(left.length, 1, "that of the upload");
      await using blob = await requireBlob(after, kept);
      assert.is(digestOf(await readAll(blob)), kept);
      await using upload = await requireUpload(after, "resumed");
      assert.is((await readAll(upload)).length, 250_000);
    },
    slow,
  );

  test(
    "a blob whose data is gone or altered is taken out of service, and a push heals it",
    async () => {
      const { open, bucket, keys } = await aPlace();
      await using server = await aRegistryServer({ blobs: await open() });
      const client = createClient(server.url);
      const content = Array.from({ length: 4 }, () => randomBytes(250_000));
      const digests: string[] = [];
      for (const bytes of content) digests.push(await client.pushBlob("a", bytes));
      const records = digests.map((digest) => `blobs/${digest.replace(":", "/")}`);
      const [gone = "", altered = "", unreadable = "", sound] = records;
      const owners = [gone, altered].map(async (key) => ownerIn(await bucket.getWhole(key)));
      const [goneOwner, alteredOwner] = await Promise.all(owners);
      await bucket.delete(`data/${goneOwner}/0`);
      await bucket.put(`data/${alteredOwner}/0`, randomBytes(250_000));
      await bucket.put(unreadable, Buffer.from("no record"));
      const { corrupt, lost } = await server.registry.scrub({ bytesPerSecondMax: Infinity });
      assert.equal(corrupt.toSorted(), digests.slice(0, 3).map(parseDigest).toSorted());
      assert.equal(lost.toSorted(), corrupt.toSorted());
      assert.is((await keys("quarantine/")).length, 2);
      assert.ok((await keys("blobs/")).includes(sound ?? ""));
      for (const [index, digest] of digests.entries()) {
        const path = `/v2/a/blobs/${digest}`;
        const expected = lost.includes(parseDigest(digest)) ? 404 : 200;
        assert.is((await client.send("HEAD", path)).status, expected);
        await client.pushBlob("a", content[index] ?? Buffer.alloc(0));
        assert.is(digestOf((await client.send("GET", path)).body), digest);
      }
    },
    slow,
  );

  test(
    "a record of a later version is refused, and not taken for damaged",
    async () => {
      const { open, bucket } = await aPlace();
      const store = await open();
      const digest = await put(store);
      await bucket.put(`blobs/${digest.replace(":", "/")}`, Buffer.from('{"version":2}\n'));
      await rejectsWithCode(store.open(digest), "STORAGE_REFUSED");
      await rejectsWithCode(store.delete(digest), "STORAGE_REFUSED");
    },
    slow,
  );

  test(
    "an upload whose parts a rule of the bucket deleted goes on before them",
    async () => {
      const { open, bucket } = await aPlace();
      await using server = await aRegistryServer({ blobs: await open() });
      const client = createClient(server.url);
      const content = randomBytes(500_000);
      const url = await startUpload(client, "a");
      assert.is(
        (await client.send("PATCH", url, { body: content.subarray(0, 350_000) })).status,
        202,
      );
      for await (const multipart of bucket.listMultiparts("data/"))
        await bucket.abortMultipart(multipart);
      const closing = withDigest(url, digestOf(content));
      const rest = content.subarray(350_000);
      assert.is((await client.send("PUT", closing, { body: rest })).status, 503);
      assert.is((await client.send("GET", url)).headers["range"], "0-0");
      assert.is((await client.send("PUT", closing, { body: content })).status, 201);
    },
    slow,
  );

  test(
    "an image goes in and out by sha256 and sha512, in one piece and in chunks",
    async () => {
      const { open, keys } = await aPlace();
      await using server = await aRegistryServer({ blobs: await open() });
      const client = createClient(server.url);
      const { manifest, blobs } = anImage({ layers: [randomBytes(250_000), randomBytes(90_000)] });
      for (const blob of blobs) await client.pushBlob("a", blob);
      assert.is((await client.putManifest("/v2/a/manifests/v1", manifest)).status, 201);
      for (const blob of blobs) {
        const path = `/v2/a/blobs/${digestOf(blob)}`;
        assert.ok((await client.send("GET", path)).body.equals(blob));
      }
      const [layer = Buffer.alloc(0)] = blobs.filter(({ length }) => length === 250_000);
      const headers = { range: "bytes=99990-100009,0-1,-3" };
      const parts = await client.send("GET", `/v2/a/blobs/${digestOf(layer)}`, { headers });
      assert.is(parts.status, 206);
      for (const part of [
        layer.subarray(99_990, 100_010),
        layer.subarray(0, 2),
        layer.subarray(-3),
      ]) {
        assert.ok(parts.body.includes(part));
      }
      const long = randomBytes(320_000);
      const url = await startUpload(client, "a");
      for (let start = 0; start < long.length; start += 80_000) {
        const body = long.subarray(start, start + 80_000);
        const headers = { "content-range": `${start}-${start + 79_999}` };
        assert.is((await client.send("PATCH", url, { body, headers })).status, 202);
      }
      const closing = withDigest(url, digestOf(long, "sha512"));
      assert.is((await client.send("PUT", closing)).status, 201);
      const path = `/v2/a/blobs/${digestOf(long, "sha512")}`;
      assert.ok((await client.send("GET", path)).body.equals(long));
      assert.equal(await keys("uploads/"), []);
      assert.equal(server.faults, []);
    },
    slow,
  );
};

suite("a bucket of S3 that is not as it was left", (test) => {
  if (s3ServerMissing === undefined) define(test);
  else test.skip("is repaired", s3ServerMissing);
});
