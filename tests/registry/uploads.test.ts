import { createHash } from "node:crypto";
import { readdirSync } from "node:fs";
import { request } from "node:http";
import { join } from "node:path";
import { PassThrough } from "node:stream";

import { requireLocation, startUpload } from "../conformance/checks.ts";
import {
  type Client,
  createClient,
  digestOf,
  errorCodes,
  randomBlob,
  withDigest,
} from "../support/registry-client.ts";
import { aRegistryServer, type RegistryServer } from "../support/registry-server.ts";
import { assert, suite } from "../support/suite.ts";
import { aTemporaryDirectory } from "../support/temporary.ts";

const bytes = randomBlob(3_000_000);
const digest = digestOf(bytes);

type Span = readonly [start: number, end: number];

function patch(client: Client, url: string, [start, end]: Span): ReturnType<Client["send"]> {
  const headers = { "content-range": `${start}-${end - 1}` };
  return client.send("PATCH", url, { headers, body: bytes.subarray(start, end) });
}

/** Announces all the bytes but sends only `count`; the caller breaks it off. */
function sendPart(server: RegistryServer, path: string, count: number): ReturnType<typeof request> {
  const outgoing = request(new URL(path, server.url), {
    method: "PATCH",
    headers: { "content-length": bytes.length },
  });
  outgoing.on("error", () => undefined);
  outgoing.write(bytes.subarray(0, count));
  return outgoing;
}

suite("uploads", (test) => {
  test("go on where they were after a restart, also with a digest that is only known at the end", async () => {
    for (const algorithm of ["sha256", "sha512"]) {
      await using folder = aTemporaryDirectory();
      let url: string;
      {
        await using server = await aRegistryServer({ folder: folder.path });
        const client = createClient(server.url);
        url = await startUpload(client, "a");
        assert.is((await patch(client, url, [0, 1_500_000])).status, 202);
      }
      await using server = await aRegistryServer({ folder: folder.path });
      assert.is(await server.registry.sweepUploads(), 0);
      const client = createClient(server.url);
      const status = await client.send("GET", url);
      assert.equal([status.status, status.headers["range"]], [204, "0-1499999"]);
      assert.is((await patch(client, url, [1_500_000, 3_000_000])).status, 202);
      const name = digestOf(bytes, algorithm);
      assert.is((await client.send("PUT", withDigest(url, name))).status, 201);
      assert.ok((await client.send("GET", `/v2/a/blobs/${name}`)).body.equals(bytes));
    }
  });

  test("keep what came before the client hung up, and go on after it", async () => {
    await using folder = aTemporaryDirectory();
    await using server = await aRegistryServer({ folder: folder.path });
    const client = createClient(server.url);
    const url = await startUpload(client, "a");
    const broken = sendPart(server, url, 2_000_000);
    await readStored(client, url, 1_000_000);
    broken.destroy();
    const stored = storedOf(await settled(client, url));
    // One byte more than was sent before: that of the request which saw that the upload was free again.
    assert.ok(stored > 1_000_000 && stored <= 2_000_001, String(stored));
    assert.is((await patch(client, url, [stored, bytes.length])).status, 202);
    assert.is((await client.send("PUT", withDigest(url, digest))).status, 201);
  });

  test("are refused when a chunk is not as long as it says, and nothing of it is kept", async () => {
    await using server = await aRegistryServer();
    const client = createClient(server.url);
    const url = await startUpload(client, "a");
    const wrong = await client.send("PATCH", url, {
      headers: { "content-range": "0-99" },
      body: bytes.subarray(0, 50),
    });
    assert.equal([wrong.status, ...errorCodes(wrong)], [400, "SIZE_INVALID"]);
    for (const length of [50, 150]) {
      const body = new PassThrough().end(bytes.subarray(0, length));
      const headers = { "content-range": "0-99" };
      const streamed = await client.send("PATCH", url, { headers, body });
      assert.equal([streamed.status, ...errorCodes(streamed)], [400, "SIZE_INVALID"]);
    }
    assert.is((await patch(client, url, [0, bytes.length])).status, 202);
    assert.is((await client.send("PUT", withDigest(url, digest))).status, 201);
  });

  test("answer 416 to a Content-Range that is none", async () => {
    await using server = await aRegistryServer();
    const client = createClient(server.url);
    const url = await startUpload(client, "a");
    for (const range of ["x", "5-1", "bytes */5"]) {
      const answer = await client.send("PATCH", url, {
        headers: { "content-range": range },
        body: "abc",
      });
      assert.is(answer.status, 416, range);
    }
    assert.is((await client.send("GET", url)).headers["range"], "0-0");
  });

  test("are gone after a wrong digest, and leave no file", async () => {
    await using folder = aTemporaryDirectory();
    await using server = await aRegistryServer({ folder: folder.path });
    const client = createClient(server.url);
    const url = await startUpload(client, "a");
    const wrong = withDigest(url, digestOf(Buffer.from("else")));
    assert.is((await client.send("PUT", wrong, { body: bytes })).status, 400);
    assert.is((await client.send("GET", url)).status, 404);
    assert.is(
      (await client.send("POST", withDigest("/v2/a/blobs/uploads/", digest), { body: "x" })).status,
      400,
    );
    assert.equal(readdirSync(join(folder.path, "uploads")), []);
    assert.equal(readdirSync(join(folder.path, "blobs")), []);
  });

  test("take sha512 announced at the start, and refuse other algorithms", async () => {
    await using server = await aRegistryServer();
    const client = createClient(server.url);
    const started = await client.send("POST", "/v2/a/blobs/uploads/?digest-algorithm=sha512");
    const url = requireLocation(started);
    await client.send("PATCH", url, { body: bytes });
    const name = `sha512:${createHash("sha512").update(bytes).digest("hex")}`;
    assert.is((await client.send("PUT", withDigest(url, name))).status, 201);
    const other = await client.send("POST", "/v2/a/blobs/uploads/?digest-algorithm=md5");
    assert.equal([other.status, ...errorCodes(other)], [400, "DIGEST_INVALID"]);
    const closing = await client.send("PUT", `${await startUpload(client, "a")}?digest=md5:abc`);
    assert.equal([closing.status, ...errorCodes(closing)], [400, "DIGEST_INVALID"]);
  });

  test("have one writer at a time, who can be cancelled", async () => {
    await using server = await aRegistryServer();
    const client = createClient(server.url);
    const url = await startUpload(client, "a");
    const first = sendPart(server, url, 2_000_000);
    await readStored(client, url, 1_000_000);
    const second = await client.send("PATCH", url, { body: "x" });
    assert.equal([second.status, ...errorCodes(second)], [409, "UPLOAD_BUSY"]);
    assert.is((await client.send("DELETE", url)).status, 204);
    assert.is((await client.send("GET", url)).status, 404);
    first.destroy();
    assert.equal(server.faults, []);
  });

  test("are swept when nobody touched them for their age, and so are files without a record", async () => {
    await using folder = aTemporaryDirectory();
    let now = 1_000_000;
    const limits = { uploadAgeMsMax: 3_600_000 };
    await using server = await aRegistryServer({ folder: folder.path, clock: () => now, limits });
    const client = createClient(server.url);
    const [old, touched] = [await startUpload(client, "a"), await startUpload(client, "a")];
    now += 3_000_000;
    await client.send("PATCH", touched, { body: "abc" });
    now += 1_000_000;
    assert.is(await server.registry.sweepUploads(), 1);
    assert.is((await client.send("GET", old)).status, 404);
    assert.is((await client.send("GET", touched)).headers["range"], "0-2");
    now += 10_000_000;
    assert.is(await server.registry.sweepUploads(), 1);
    assert.equal(readdirSync(join(folder.path, "uploads")), []);
  });

  test("are limited for each caller: 429 with Retry-After", async () => {
    await using server = await aRegistryServer({ limits: { uploadsPerSubjectMax: 2 } });
    const client = createClient(server.url);
    const urls = [await startUpload(client, "a"), await startUpload(client, "a")];
    const refused = await client.send("POST", "/v2/a/blobs/uploads/");
    assert.equal([refused.status, ...errorCodes(refused)], [429, "TOOMANYREQUESTS"]);
    assert.ok(Number(refused.headers["retry-after"]) > 0);
    await client.send("DELETE", urls[0] ?? "");
    await startUpload(client, "a");
  });

  test("longer than a blob may be are 413, announced or not", async () => {
    await using server = await aRegistryServer({ limits: { blobSizeBytesMax: 1000 } });
    const client = createClient(server.url);
    const url = await startUpload(client, "a");
    const announced = await client.send("PATCH", url, { body: bytes.subarray(0, 1001) });
    assert.equal([announced.status, ...errorCodes(announced)], [413, "BLOB_TOO_LARGE"]);
    const body = new PassThrough().end(bytes.subarray(0, 1001));
    assert.is((await client.send("PATCH", url, { body })).status, 413);
    assert.is((await client.send("PATCH", url, { body: bytes.subarray(0, 1000) })).status, 202);
  });
});

/** Waits until at least `count` bytes are stored; gives the `Range`. */
async function readStored(client: Client, url: string, count: number): Promise<string> {
  for (;;) {
    const range = (await client.send("GET", url)).headers["range"] ?? "";
    if (storedOf(range) >= count) return range;
  }
}

function storedOf(range: string): number {
  return Number(range.split("-")[1]) + 1;
}

/** Waits until the broken request has let go of the upload; gives the `Range`. */
async function settled(client: Client, url: string): Promise<string> {
  for (;;) {
    const stored = storedOf((await client.send("GET", url)).headers["range"] ?? "");
    const probe = await client.send("PATCH", url, {
      headers: { "content-range": `${stored}-${stored}` },
      body: bytes.subarray(stored, stored + 1),
    });
    if (probe.status === 202) return probe.headers["range"] ?? "";
  }
}
