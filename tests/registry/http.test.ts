import { once } from "node:events";
import { connect } from "node:net";
import { text } from "node:stream/consumers";

import { mediaTypes } from "@strata/protocol/oci/media-type";
import type { TagMoved } from "@strata/registry/routes/manifests";

import { anImage, anIndex, buildManifest, describe } from "../support/images.ts";
import { createClient, digestOf, errorCodes, randomBlob } from "../support/registry-client.ts";
import { aRegistryServer } from "../support/registry-server.ts";
import { assert, suite } from "../support/suite.ts";

const bytes = randomBlob(300_000);

suite("blob answers", (test) => {
  test("several ranges come as multipart/byteranges of a known length", async () => {
    await using server = await aRegistryServer();
    const client = createClient(server.url);
    const digest = await client.pushBlob("a", bytes);
    const headers = { range: "bytes=0-9,100000-199999,-5" };
    const answer = await client.send("GET", `/v2/a/blobs/${digest}`, { headers });
    assert.is(answer.status, 206);
    assert.is(answer.headers["content-length"], String(answer.body.length));
    const parts = [
      [0, 9],
      [100_000, 199_999],
      [299_995, 299_999],
    ] as const;
    assert.ok(answer.body.equals(multipart(answer.headers["content-type"] ?? "", parts)));
  });

  test("ranges that touch or overlap come as one; too many come as the whole", async () => {
    await using server = await aRegistryServer({ limits: { rangesMax: 2 } });
    const client = createClient(server.url);
    const path = `/v2/a/blobs/${await client.pushBlob("a", bytes)}`;
    const overlap = await client.send("GET", path, { headers: { range: "bytes=0-9,5-19" } });
    assert.equal([overlap.status, overlap.headers["content-range"]], [206, "bytes 0-19/300000"]);
    const many = await client.send("GET", path, { headers: { range: "bytes=0-1,10-11,20-21" } });
    assert.is(many.status, 200);
    assert.ok(many.body.equals(bytes));
  });

  test("ETag is the digest: If-None-Match is 304, If-Range decides about ranges", async () => {
    await using server = await aRegistryServer();
    const client = createClient(server.url);
    const digest = await client.pushBlob("a", bytes);
    const get = (headers: Record<string, string>): ReturnType<typeof client.send> =>
      client.send("GET", `/v2/a/blobs/${digest}`, { headers });
    const etag = (await get({})).headers["etag"] ?? "";
    assert.is(etag, `"${digest}"`);
    for (const match of [etag, `"x", W/${etag}`, "*"]) {
      const answer = await get({ "if-none-match": match });
      assert.equal([answer.status, answer.body.length], [304, 0]);
    }
    assert.is((await get({ "if-none-match": `"x"` })).status, 200);
    assert.is((await get({ range: "bytes=0-9", "if-range": etag })).status, 206);
    assert.is((await get({ range: "bytes=0-9", "if-range": `"x"` })).status, 200);
    assert.is(
      (await get({ range: "bytes=0-9", "if-range": "Sun, 22 Nov 2026 00:00:00 GMT" })).status,
      200,
    );
  });

  test("a resumed download is the same bytes", async () => {
    await using server = await aRegistryServer();
    const client = createClient(server.url);
    const digest = await client.pushBlob("a", bytes);
    const pieces: Buffer[] = [];
    for (let start = 0; start < bytes.length; start += 70_000) {
      const headers = { range: `bytes=${start}-${start + 69_999}` };
      pieces.push((await client.send("GET", `/v2/a/blobs/${digest}`, { headers })).body);
    }
    assert.ok(Buffer.concat(pieces).equals(bytes));
  });
});

function multipart(contentType: string, parts: readonly (readonly [number, number])[]): Buffer {
  const boundary = /^multipart\/byteranges; boundary=(\S+)$/.exec(contentType)?.[1] ?? "none";
  const pieces = parts.flatMap(([start, end]) => [
    Buffer.from(
      `\r\n--${boundary}\r\nContent-Type: application/octet-stream\r\nContent-Range: bytes ${start}-${end}/300000\r\n\r\n`,
    ),
    bytes.subarray(start, end + 1),
  ]);
  return Buffer.concat([...pieces, Buffer.from(`\r\n--${boundary}--\r\n`)]);
}

suite("manifest answers", (test) => {
  test("Docker's schema 2 image and list are stored as they are", async () => {
    await using server = await aRegistryServer();
    const client = createClient(server.url);
    const [config, layer] = [randomBlob(), randomBlob()];
    for (const blob of [config, layer]) await client.pushBlob("a", blob);
    const image = buildManifest(
      {
        schemaVersion: 2,
        mediaType: mediaTypes.dockerManifest,
        config: describe(config, mediaTypes.dockerConfig),
        layers: [describe(layer, mediaTypes.dockerLayerGzip)],
      },
      mediaTypes.dockerManifest,
    );
    const child = {
      ...describe(image.bytes, image.mediaType),
      platform: { os: "linux", architecture: "amd64" },
    };
    const list = buildManifest(
      { schemaVersion: 2, mediaType: mediaTypes.dockerList, manifests: [child] },
      mediaTypes.dockerList,
    );
    for (const [reference, manifest] of [
      [image.digest, image],
      ["list", list],
    ] as const) {
      assert.is((await client.putManifest(`/v2/a/manifests/${reference}`, manifest)).status, 201);
      const got = await client.send("GET", `/v2/a/manifests/${reference}`);
      assert.is(got.headers["content-type"], manifest.mediaType);
      assert.ok(got.body.equals(manifest.bytes));
    }
  });

  test("ETag is the digest: If-None-Match is 304 while the tag has not moved", async () => {
    await using server = await aRegistryServer();
    const client = createClient(server.url);
    const [one, two] = [anIndex([]), anIndex([], { fields: { annotations: { a: "b" } } })];
    await client.putManifest("/v2/a/manifests/x", one);
    const headers = { "if-none-match": `"${one.digest}"` };
    const same = await client.send("GET", "/v2/a/manifests/x", { headers });
    assert.equal([same.status, same.body.length], [304, 0]);
    await client.putManifest("/v2/a/manifests/x", two);
    assert.is((await client.send("GET", "/v2/a/manifests/x", { headers })).status, 200);
  });

  test("a manifest longer than the limit is 413, announced or not, and the connection goes on", async () => {
    await using server = await aRegistryServer({ limits: { manifestSizeBytesMax: 1000 } });
    const client = createClient(server.url);
    const manifest = anIndex([], { fields: { annotations: { long: "x".repeat(2000) } } });
    const answer = await client.putManifest("/v2/a/manifests/x", manifest);
    assert.equal([answer.status, ...errorCodes(answer)], [413, "MANIFEST_TOO_LARGE"]);
    assert.is((await client.putManifest("/v2/a/manifests/x", anIndex([]))).status, 201);
  });

  test("a manifest whose layer is missing names it; one that lies about a size is refused", async () => {
    await using server = await aRegistryServer();
    const client = createClient(server.url);
    const { manifest, blobs } = anImage();
    const missing = await client.putManifest("/v2/a/manifests/x", manifest);
    assert.equal([missing.status, ...errorCodes(missing)], [400, "MANIFEST_BLOB_UNKNOWN"]);
    assert.ok(missing.body.includes(digestOf(blobs[0] ?? Buffer.alloc(0))));
    const layer = randomBlob();
    await client.pushBlob("a", layer);
    const lying = anImage({
      layers: [],
      fields: { layers: [{ ...describe(layer, "x/y"), size: 1 }] },
    });
    for (const blob of lying.blobs) await client.pushBlob("a", blob);
    const answer = await client.putManifest("/v2/a/manifests/x", lying.manifest);
    assert.equal([answer.status, ...errorCodes(answer)], [400, "MANIFEST_INVALID"]);
    assert.is((await client.send("GET", "/v2/a/manifests/x")).status, 404);
  });

  test("end-7b: more tags than allowed are 414, and a bad one is 400; no tag is set", async () => {
    await using server = await aRegistryServer({ limits: { tagsPerPutMax: 2 } });
    const client = createClient(server.url);
    const index = anIndex([]);
    const put = (query: string): ReturnType<typeof client.putManifest> =>
      client.putManifest(`/v2/a/manifests/${index.digest}?${query}`, index);
    assert.is((await put("tag=a&tag=b&tag=c")).status, 414);
    assert.is((await put("tag=a&tag=.b")).status, 400);
    assert.is((await client.send("GET", "/v2/a/tags/list")).status, 404);
    assert.is((await put("tag=a&tag=b")).headers["oci-tag"], "a, b");
  });

  test("end-9: deleting a manifest deletes its tags; deleting a tag leaves the manifest", async () => {
    await using server = await aRegistryServer();
    const client = createClient(server.url);
    const index = anIndex([]);
    await client.putManifest(`/v2/a/manifests/${index.digest}?tag=x&tag=y`, index);
    await client.send("DELETE", "/v2/a/manifests/x");
    assert.is((await client.send("HEAD", `/v2/a/manifests/${index.digest}`)).status, 200);
    assert.is((await client.send("HEAD", "/v2/a/manifests/y")).status, 200);
    await client.send("DELETE", `/v2/a/manifests/${index.digest}`);
    assert.is((await client.send("HEAD", "/v2/a/manifests/y")).status, 404);
  });

  test("end-10: a blob that a manifest needs is not deleted: 409", async () => {
    await using server = await aRegistryServer();
    const client = createClient(server.url);
    const { manifest, blobs } = anImage();
    for (const blob of blobs) await client.pushBlob("a", blob);
    await client.putManifest("/v2/a/manifests/x", manifest);
    const path = `/v2/a/blobs/${digestOf(blobs[0] ?? Buffer.alloc(0))}`;
    const answer = await client.send("DELETE", path);
    assert.equal([answer.status, ...errorCodes(answer)], [409, "BLOB_IN_USE"]);
    assert.is((await client.send("HEAD", path)).status, 200);
  });

  test("the embedder hears of every tag that moves, and of no other", async () => {
    const moves: TagMoved[] = [];
    await using server = await aRegistryServer({ onTagMoved: (move) => moves.push(move) });
    const client = createClient(server.url);
    const [one, two] = [anIndex([]), anIndex([], { fields: { annotations: { a: "b" } } })];
    for (const index of [one, one, two]) await client.putManifest("/v2/a/manifests/x", index);
    await client.send("DELETE", `/v2/a/manifests/${two.digest}`);
    assert.equal(
      moves.map(({ repository, tag, digest, previous }) => [repository, tag, digest, previous]),
      [
        ["a", "x", one.digest, undefined],
        ["a", "x", two.digest, one.digest],
        ["a", "x", undefined, two.digest],
      ],
    );
  });

  test("the embedder resolves a tag or digest, and nothing else", async () => {
    await using server = await aRegistryServer();
    const client = createClient(server.url);
    const index = anIndex([]);
    await client.putManifest("/v2/a/manifests/x", index);
    for (const reference of ["x", index.digest]) {
      assert.is((await server.registry.resolve("a", reference))?.digest, index.digest);
    }
    for (const [repository, reference] of [
      ["a", "y"],
      ["b", "x"],
      ["a", "sha256:x"],
      ["../a", "x"],
    ] as const) {
      assert.is(await server.registry.resolve(repository, reference), undefined);
    }
  });
});

suite("requests that no route takes", (test) => {
  test("an unknown method is 405 with Allow; an unknown path is 404", async () => {
    await using server = await aRegistryServer();
    const client = createClient(server.url);
    const put = await client.send("PUT", "/v2/a/tags/list");
    assert.equal(
      [put.status, put.headers["allow"], ...errorCodes(put)],
      [405, "GET", "UNSUPPORTED"],
    );
    const post = await client.send("POST", `/v2/a/blobs/${digestOf(bytes)}`);
    assert.equal([post.status, post.headers["allow"]], [405, "GET, HEAD, DELETE"]);
    assert.is((await client.send("GET", "/v2/nothing")).status, 404);
  });

  test("Location never comes from the Host header", async () => {
    await using server = await aRegistryServer();
    const socket = connect(Number(server.host.split(":")[1]), "127.0.0.1");
    await once(socket, "connect");
    socket.end(
      "POST /v2/a/blobs/uploads/ HTTP/1.1\r\nHost: evil.example\r\nX-Forwarded-Host: evil.example\r\n" +
        "Content-Length: 0\r\nConnection: close\r\n\r\n",
    );
    const answer = await text(socket);
    assert.match(answer, /^HTTP\/1.1 202 /);
    assert.match(answer, /location: \/v2\/a\/blobs\/uploads\//i);
    assert.not.match(answer, /evil/);
  });
});
