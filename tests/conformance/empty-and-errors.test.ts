import { mediaTypes } from "@strata/protocol/oci/media-type";

import { anImage } from "../support/images.ts";
import { createClient, digestOf, errorCodes, randomBlob } from "../support/registry-client.ts";
import { aRegistryServer } from "../support/registry-server.ts";
import { assert, suite } from "../support/suite.ts";
import { parseReferrers } from "./referrers.ts";

suite("conformance: a repository that does not exist", (test) => {
  test("end-1: GET /v2/ answers", async () => {
    await using server = await aRegistryServer();
    assert.is((await createClient(server.url).send("GET", "/v2/")).status, 200);
  });

  test("end-8a: its tag list is 404 NAME_UNKNOWN", async () => {
    await using server = await aRegistryServer();
    const answer = await createClient(server.url).send("GET", "/v2/repo1/tags/list");
    assert.is(answer.status, 404);
    assert.equal(errorCodes(answer), ["NAME_UNKNOWN"]);
  });

  test("end-12a: its referrers are an empty index, never 404", async () => {
    await using server = await aRegistryServer();
    const path = `/v2/repo1/referrers/${digestOf(randomBlob())}`;
    const answer = await createClient(server.url).send("GET", path);
    assert.is(answer.status, 200);
    assert.is(answer.headers["content-type"], mediaTypes.index);
    assert.equal(parseReferrers(answer.body), []);
  });
});

suite("conformance: manifest errors", (test) => {
  test("end-3: a manifest never pushed is 404, by digest and by tag", async () => {
    await using server = await aRegistryServer();
    const client = createClient(server.url);
    for (const reference of [digestOf(randomBlob()), digestOf(randomBlob(), "sha512"), "missing"]) {
      const answer = await client.send("GET", `/v2/repo1/manifests/${reference}`);
      assert.is(answer.status, 404);
      assert.equal(errorCodes(answer), ["MANIFEST_UNKNOWN"]);
    }
  });

  test("end-7: sha256:baddigeststring is no digest and no tag: 400", async () => {
    await using server = await aRegistryServer();
    const client = createClient(server.url);
    const { manifest, blobs } = anImage();
    for (const blob of blobs) await client.pushBlob("repo1", blob);
    const path = "/v2/repo1/manifests/sha256:baddigeststring";
    assert.is((await client.putManifest(path, manifest)).status, 400);
    assert.is((await client.send("GET", path)).status, 400);
  });

  test("end-7: bytes that do not hash to the digest of the path are 400", async () => {
    await using server = await aRegistryServer();
    const client = createClient(server.url);
    for (const algorithm of ["sha256", "sha512"]) {
      const { manifest, blobs } = anImage({ algorithm });
      for (const blob of blobs) await client.pushBlob("repo1", blob, algorithm);
      const path = `/v2/repo1/manifests/${manifest.digest}`;
      const padded = { ...manifest, bytes: Buffer.concat([manifest.bytes, Buffer.from("  ")]) };
      const answer = await client.putManifest(path, padded);
      assert.is(answer.status, 400);
      assert.equal(errorCodes(answer), ["DIGEST_INVALID"]);
      assert.is((await client.send("HEAD", path)).status, 404);
    }
  });
});
