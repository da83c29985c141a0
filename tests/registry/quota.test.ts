import { Readable } from "node:stream";

import { startUpload } from "../conformance/checks.ts";
import { anImage } from "../support/images.ts";
import {
  type Answer,
  type Client,
  createClient,
  digestOf,
  errorCodes,
  randomBlob,
  withDigest,
} from "../support/registry-client.ts";
import { aRegistryServer, type RegistryServer } from "../support/registry-server.ts";
import { assert, suite } from "../support/suite.ts";

const MAX = 10_000;

/** `acme` and all below it may hold MAX bytes; others what they like. */
function aServer(limit: { bytesMax: number } = { bytesMax: MAX }): Promise<RegistryServer> {
  return aRegistryServer({
    quota: (repository) =>
      repository.split("/")[0] === "acme"
        ? { prefix: "acme", bytesMax: limit.bytesMax }
        : undefined,
  });
}

function expectDenied(answer: Answer): void {
  assert.is(answer.status, 403);
  assert.equal(errorCodes(answer), ["DENIED"]);
  assert.match(answer.body.toString(), /quota of acme exceeded: \d+ of 10000 bytes are used/);
}

async function postBlob(client: Client, repository: string, bytes: Buffer): Promise<Answer> {
  const path = `/v2/${repository}/blobs/uploads/?digest=${digestOf(bytes)}`;
  return client.send("POST", path, { body: bytes });
}

suite("a quota", (test) => {
  test("counts each blob once in the whole tenant, and the manifests", async () => {
    await using server = await aServer();
    const client = createClient(server.url);
    const image = anImage({ layers: [randomBlob(4_000)] });
    for (const repository of ["acme", "acme/app"]) {
      for (const blob of image.blobs) await client.pushBlob(repository, blob);
      await client.putManifest(`/v2/${repository}/manifests/x`, image.manifest);
    }
    await client.pushBlob("acme2", randomBlob(5));
    const blobBytes = image.blobs.reduce((sum, { length }) => sum + length, 0);
    const expected = blobBytes + 2 * image.manifest.bytes.length;
    assert.is(await server.registry.sumBytes("acme"), expected);
    assert.is(await server.registry.sumBytes(""), expected + 5);
    assert.is((await postBlob(client, "acme/x", randomBlob(MAX - expected))).status, 201);
    expectDenied(await postBlob(client, "acme/x", randomBlob(1)));
    assert.is((await postBlob(client, "acme2", randomBlob(MAX))).status, 201);
  });

  test("refuses before a byte is stored what says its length, and in the middle what does not", async () => {
    await using server = await aServer();
    const client = createClient(server.url);
    const bytes = randomBlob(MAX + 1);
    const declared = await startUpload(client, "acme/a");
    expectDenied(await client.send("PATCH", declared, { body: bytes }));
    assert.is((await client.send("GET", declared)).status, 404, "the upload is given up");
    const streamed = await startUpload(client, "acme/a");
    const halves = [bytes.subarray(0, 5_000), bytes.subarray(5_000)];
    expectDenied(await client.send("PATCH", streamed, { body: Readable.from(halves) }));
    assert.is(await server.registry.sumBytes("acme"), 0);
    assert.is((await postBlob(client, "acme/a", bytes.subarray(1))).status, 201);
  });

  test("counts uploads that are not finished, until they are cancelled", async () => {
    await using server = await aServer();
    const client = createClient(server.url);
    const [one, two] = [await startUpload(client, "acme/a"), await startUpload(client, "acme/b")];
    assert.is((await client.send("PATCH", one, { body: randomBlob(6_000) })).status, 202);
    expectDenied(await client.send("PATCH", two, { body: randomBlob(4_001) }));
    assert.is((await client.send("DELETE", one)).status, 204);
    const bytes = randomBlob(MAX);
    const three = await startUpload(client, "acme/b");
    assert.is((await client.send("PATCH", three, { body: bytes })).status, 202);
    assert.is((await client.send("PUT", withDigest(three, digestOf(bytes)))).status, 201);
  });

  test("holds for pushes at the same time, mounts and manifests", async () => {
    await using server = await aServer();
    const client = createClient(server.url);
    const answers = await Promise.all(
      Array.from({ length: 10 }, (_, n) => postBlob(client, `acme/r${n}`, randomBlob(3_000))),
    );
    assert.is(answers.filter(({ status }) => status === 201).length, 3);
    const large = await client.pushBlob("other", randomBlob(2_000));
    expectDenied(await client.send("POST", `/v2/acme/m/blobs/uploads/?mount=${large}&from=other`));
    assert.is((await client.send("HEAD", `/v2/acme/m/blobs/${large}`)).status, 404);
    const image = anImage({ layers: [], fields: { annotations: { x: "x".repeat(1_000) } } });
    for (const blob of image.blobs) await client.pushBlob("acme/m", blob);
    expectDenied(await client.putManifest("/v2/acme/m/manifests/x", image.manifest));
    assert.is((await client.send("GET", "/v2/acme/m/manifests/x")).status, 404);
    assert.ok((await server.registry.sumBytes("acme")) <= MAX);
    assert.equal(server.faults, []);
  });

  test("that was lowered lets pass what adds nothing", async () => {
    const limit = { bytesMax: MAX };
    await using server = await aServer(limit);
    const client = createClient(server.url);
    const image = anImage();
    for (const blob of image.blobs) await client.pushBlob("acme/a", blob);
    await client.putManifest("/v2/acme/a/manifests/x", image.manifest);
    limit.bytesMax = 10;
    assert.is((await client.putManifest("/v2/acme/a/manifests/y", image.manifest)).status, 201);
    const digest = digestOf(image.blobs[0] ?? Buffer.alloc(0));
    const path = `/v2/acme/b/blobs/uploads/?mount=${digest}&from=acme/a`;
    assert.is((await client.send("POST", path)).status, 201);
  });
});
