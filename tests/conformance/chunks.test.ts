import {
  type Answer,
  type Client,
  createClient,
  digestOf,
  randomBlob,
  withDigest,
} from "../support/registry-client.ts";
import { aRegistryServer } from "../support/registry-server.ts";
import { assert, suite } from "../support/suite.ts";
import {
  type Algorithm,
  algorithms,
  checkCreated,
  checkLifeOfBlob,
  requireLocation,
  startUpload,
} from "./checks.ts";

const CHUNK_BYTES = 1024;

/** Three chunks, the last one shorter. */
const offsets = [0, CHUNK_BYTES, 2 * CHUNK_BYTES] as const;
const bytes = randomBlob(2 * CHUNK_BYTES + 500);

function chunkAt(offset: number): {
  readonly body: Buffer;
  readonly headers: Record<string, string>;
} {
  const body = bytes.subarray(offset, offset + CHUNK_BYTES);
  return {
    body,
    headers: {
      "content-type": "application/octet-stream",
      "content-range": `${offset}-${offset + body.length - 1}`,
    },
  };
}

type LastChunk = "by PATCH" | "in the PUT";

async function pushInChunks(
  client: Client,
  last: LastChunk,
  algorithm: Algorithm,
): Promise<Answer> {
  let url = await startUpload(client, "repo1");
  for (const offset of last === "by PATCH" ? offsets : offsets.slice(0, -1)) {
    const answer = await client.send("PATCH", url, chunkAt(offset));
    assert.is(answer.status, 202);
    url = requireLocation(answer);
  }
  const closing = withDigest(url, digestOf(bytes, algorithm));
  return client.send("PUT", closing, last === "by PATCH" ? {} : chunkAt(offsets[2]));
}

/** Before each chunk a wrong one: it skips ahead, or starts again at 0 where that would pass the end. */
async function pushOutOfOrder(
  client: Client,
  last: LastChunk,
  algorithm: Algorithm,
): Promise<Answer> {
  let url = await startUpload(client, "repo1");
  const closing = (): string => withDigest(url, digestOf(bytes, algorithm));
  for (const [index, offset] of offsets.entries()) {
    const inPut = last === "in the PUT" && index === offsets.length - 1;
    const wrong = chunkAt(offsets[index + 1] ?? 0);
    const refused = await client.send(inPut ? "PUT" : "PATCH", inPut ? closing() : url, wrong);
    assert.is(refused.status, 416);
    const status = await client.send("GET", url);
    assert.is(status.status, 204);
    assert.is(status.headers["range"], `0-${Math.max(0, offset - 1)}`);
    url = requireLocation(status);
    if (inPut) return client.send("PUT", closing(), chunkAt(offset));
    const accepted = await client.send("PATCH", url, chunkAt(offset));
    assert.is(accepted.status, 202);
    assert.is(accepted.headers["range"], `0-${Math.min(offset + CHUNK_BYTES, bytes.length) - 1}`);
    url = requireLocation(accepted);
  }
  return client.send("PUT", closing());
}

for (const algorithm of algorithms) {
  suite(`conformance: ${algorithm} chunks`, (test) => {
    const blob = { repository: "repo1", bytes, algorithm };
    for (const last of ["by PATCH", "in the PUT"] as const) {
      test(`end-5: three chunks, the last ${last}`, async () => {
        await using server = await aRegistryServer();
        const client = createClient(server.url);
        await checkCreated(client, await pushInChunks(client, last, algorithm), blob);
        await checkLifeOfBlob(client, blob);
      });

      test(`end-5: a chunk out of order is 416 and the upload survives, the last ${last}`, async () => {
        await using server = await aRegistryServer();
        const client = createClient(server.url);
        await checkCreated(client, await pushOutOfOrder(client, last, algorithm), blob);
        await checkLifeOfBlob(client, blob);
      });
    }

    test("end-5: a single chunk after a POST with Content-Length 0", async () => {
      await using server = await aRegistryServer();
      const client = createClient(server.url);
      const headers = { "content-length": "0" };
      const started = await client.send("POST", "/v2/repo1/blobs/uploads/", { headers });
      assert.is(started.status, 202);
      const single = randomBlob();
      const patched = await client.send("PATCH", requireLocation(started), {
        headers: { "content-range": "0-511" },
        body: single,
      });
      assert.is(patched.status, 202);
      const closing = withDigest(requireLocation(patched), digestOf(single, algorithm));
      await checkCreated(client, await client.send("PUT", closing), { ...blob, bytes: single });
    });
  });
}
