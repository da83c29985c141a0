import { Readable } from "node:stream";

import {
  type Client,
  createClient,
  digestOf,
  randomBlob,
  withDigest,
} from "../support/registry-client.ts";
import { aRegistryServer } from "../support/registry-server.ts";
import { assert, suite, type Test } from "../support/suite.ts";
import {
  type Algorithm,
  algorithms,
  type BlobPlace,
  checkCreated,
  checkLifeOfBlob,
  requireLocation,
  startUpload,
} from "./checks.ts";

const octets = { "content-type": "application/octet-stream" };

for (const algorithm of algorithms) {
  suite(`conformance: ${algorithm} blobs`, (test) => {
    testWholePushes(test, algorithm);
    testMounts(test, algorithm);
    testSmallContents(test, algorithm);
    testWrongDigests(test, algorithm);
  });
}

/** A fresh registry, a client and 512 random bytes. */
type Scene = AsyncDisposable & {
  readonly client: Client;
  readonly blob: BlobPlace;
  readonly digest: string;
};

async function aScene(algorithm: Algorithm, bytes = randomBlob()): Promise<Scene> {
  const server = await aRegistryServer();
  return {
    client: createClient(server.url),
    blob: { repository: "repo1", bytes, algorithm },
    digest: digestOf(bytes, algorithm),
    [Symbol.asyncDispose]: () => server[Symbol.asyncDispose](),
  };
}

function testWholePushes(test: Test, algorithm: Algorithm): void {
  test("end-2: a blob never pushed is 404", async () => {
    await using scene = await aScene(algorithm);
    const answer = await scene.client.send("GET", `/v2/repo1/blobs/${scene.digest}`);
    assert.is(answer.status, 404);
  });

  test("end-4b: POST with the digest and all the bytes", async () => {
    await using scene = await aScene(algorithm);
    const { client, blob, digest } = scene;
    const path = withDigest("/v2/repo1/blobs/uploads/", digest);
    const answer = await client.send("POST", path, { headers: octets, body: blob.bytes });
    await checkCreated(client, answer, blob);
    await checkLifeOfBlob(client, blob);
  });

  test("end-4a, end-6: POST, then PUT with all the bytes", async () => {
    await using scene = await aScene(algorithm);
    const { client, blob, digest } = scene;
    const url = await startUpload(client, "repo1");
    const answer = await client.send("PUT", withDigest(url, digest), {
      headers: octets,
      body: blob.bytes,
    });
    await checkCreated(client, answer, blob);
    await checkLifeOfBlob(client, blob);
  });

  test("end-5: one PATCH without Content-Range and without a length, then an empty PUT", async () => {
    await using scene = await aScene(algorithm);
    const { client, blob, digest } = scene;
    const url = await startUpload(client, "repo1");
    const body = Readable.from([blob.bytes.subarray(0, 100), blob.bytes.subarray(100)]);
    const patched = await client.send("PATCH", url, { headers: octets, body });
    assert.is(patched.status, 202);
    const closing = withDigest(requireLocation(patched), digest);
    const answer = await client.send("PUT", closing, { headers: { "content-length": "0" } });
    await checkCreated(client, answer, blob);
    await checkLifeOfBlob(client, blob);
  });

  test("end-14: DELETE cancels an upload with 204, and then it is unknown", async () => {
    await using scene = await aScene(algorithm);
    const url = await startUpload(scene.client, "repo1");
    assert.is((await scene.client.send("DELETE", url)).status, 204);
    assert.is((await scene.client.send("GET", url)).status, 404);
    assert.is((await scene.client.send("DELETE", url)).status, 404);
  });
}

function testMounts(test: Test, algorithm: Algorithm): void {
  test("end-11: a blob is mounted from another repository", async () => {
    await using scene = await aScene(algorithm);
    const { client, blob, digest } = scene;
    await client.pushBlob("repo2", blob.bytes, algorithm);
    const path = `/v2/repo1/blobs/uploads/?mount=${digest}&from=repo2`;
    await checkCreated(client, await client.send("POST", path), blob);
    await checkLifeOfBlob(client, blob);
    const other = await client.send("GET", `/v2/repo2/blobs/${digest}`);
    assert.ok(other.body.equals(blob.bytes), "the source still has it");
  });

  test("end-11: a blob is mounted from wherever it is when `from` is not said", async () => {
    await using scene = await aScene(algorithm);
    const { client, blob, digest } = scene;
    await client.pushBlob("repo2", blob.bytes, algorithm);
    const answer = await client.send("POST", `/v2/repo1/blobs/uploads/?mount=${digest}`);
    await checkCreated(client, answer, blob);
    await checkLifeOfBlob(client, blob);
  });

  test("end-11: a mount of what the source does not have starts an upload", async () => {
    await using scene = await aScene(algorithm);
    const { client, blob, digest } = scene;
    const path = `/v2/repo1/blobs/uploads/?mount=${digest}&from=repo2`;
    const started = await client.send("POST", path);
    assert.is(started.status, 202);
    const closing = withDigest(requireLocation(started), digest);
    const answer = await client.send("PUT", closing, { headers: octets, body: blob.bytes });
    await checkCreated(client, answer, blob);
    await checkLifeOfBlob(client, blob);
  });
}

function testSmallContents(test: Test, algorithm: Algorithm): void {
  for (const [name, bytes] of [
    ["{}", Buffer.from("{}")],
    ["nothing", Buffer.alloc(0)],
  ] as const) {
    test(`a blob of ${name} is pushed by each way`, async () => {
      await using scene = await aScene(algorithm, bytes);
      const { client, blob, digest } = scene;
      const path = withDigest("/v2/repo1/blobs/uploads/", digest);
      await checkCreated(
        client,
        await client.send("POST", path, { headers: octets, body: bytes }),
        blob,
      );
      await checkLifeOfBlob(client, blob);
      const url = await startUpload(client, "repo1");
      await checkCreated(
        client,
        await client.send("PUT", withDigest(url, digest), { body: bytes }),
        blob,
      );
      await checkLifeOfBlob(client, blob);
      const streamed = await startUpload(client, "repo1");
      await client.send("PATCH", streamed, {
        body: Readable.from([bytes].filter((b) => b.length > 0)),
      });
      await checkCreated(client, await client.send("PUT", withDigest(streamed, digest)), blob);
      await checkLifeOfBlob(client, blob);
    });
  }
}

function testWrongDigests(test: Test, algorithm: Algorithm): void {
  const other = Buffer.from("other bytes");

  test("bad digest: a POST of other bytes is 400", async () => {
    await using scene = await aScene(algorithm);
    const path = withDigest("/v2/repo1/blobs/uploads/", scene.digest);
    assert.is(
      (await scene.client.send("POST", path, { headers: octets, body: other })).status,
      400,
    );
    assert.is((await scene.client.send("HEAD", `/v2/repo1/blobs/${scene.digest}`)).status, 404);
  });

  test("bad digest: a PUT of other bytes is 400", async () => {
    await using scene = await aScene(algorithm);
    const url = await startUpload(scene.client, "repo1");
    const answer = await scene.client.send("PUT", withDigest(url, scene.digest), { body: other });
    assert.is(answer.status, 400);
    assert.is((await scene.client.send("HEAD", `/v2/repo1/blobs/${scene.digest}`)).status, 404);
  });

  test("bad digest: chunks are 202 and the closing PUT is 400", async () => {
    await using scene = await aScene(algorithm);
    const url = await startUpload(scene.client, "repo1");
    const headers = { ...octets, "content-range": `0-${other.length - 1}` };
    assert.is((await scene.client.send("PATCH", url, { headers, body: other })).status, 202);
    assert.is((await scene.client.send("PUT", withDigest(url, scene.digest))).status, 400);
  });

  test("bad digest: a stream is 202 and the closing PUT is 400", async () => {
    await using scene = await aScene(algorithm);
    const url = await startUpload(scene.client, "repo1");
    assert.is(
      (await scene.client.send("PATCH", url, { body: Readable.from([other]) })).status,
      202,
    );
    assert.is((await scene.client.send("PUT", withDigest(url, scene.digest))).status, 400);
  });
}
