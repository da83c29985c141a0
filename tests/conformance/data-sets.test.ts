import { mediaTypes } from "@strata/protocol/oci/media-type";

import { anImage, anIndex, describe, describeManifest } from "../support/images.ts";
import { type Client, createClient, digestOf, randomBlob } from "../support/registry-client.ts";
import { aRegistryServer } from "../support/registry-server.ts";
import { assert, suite } from "../support/suite.ts";
import { type DataSet, dataSets, type Entry } from "./data-sets.ts";
import { checkReferrers } from "./referrers.ts";

const manifests = "/v2/repo1/manifests";
const accept = { accept: `${mediaTypes.index}, ${mediaTypes.manifest}` };

suite("conformance: data sets", (test) => {
  for (const dataSet of dataSets) {
    test(`${dataSet.name}: push, list, head, pull, refer, delete`, async () => {
      await using server = await aRegistryServer();
      const client = createClient(server.url);
      for (const blob of dataSet.blobs) await client.pushBlob("repo1", blob, dataSet.algorithm);
      for (const entry of dataSet.entries) await pushEntry(client, dataSet, entry);
      await checkTags(client, dataSet);
      for (const entry of dataSet.entries) await checkReadable(client, entry);
      await checkReferrers(client, dataSet);
      await deleteAll(client, dataSet);
      assert.equal(server.faults, []);
    });
  }

  test("all data sets live in one repository side by side", async () => {
    await using server = await aRegistryServer();
    const client = createClient(server.url);
    for (const dataSet of dataSets) {
      for (const blob of dataSet.blobs) await client.pushBlob("repo1", blob, dataSet.algorithm);
      for (const entry of dataSet.entries) await pushEntry(client, dataSet, entry);
    }
    for (const dataSet of dataSets) await checkTags(client, dataSet);
    for (const { entries } of dataSets) {
      for (const entry of entries) await checkReadable(client, entry);
    }
  });

  test("sparse: with the option, a layer and a child may be absent; without it, both are 400", async () => {
    const image = anImage();
    const index = anIndex([describeManifest(anImage().manifest)]);
    const lacking = anImage({ fields: { layers: [describe(randomBlob(), mediaTypes.layer)] } });
    for (const [sparse, status] of [
      [true, 201],
      [false, 400],
    ] as const) {
      await using server = await aRegistryServer({ sparse });
      const client = createClient(server.url);
      for (const blob of [...image.blobs, ...lacking.blobs]) await client.pushBlob("repo1", blob);
      for (const manifest of [index, lacking.manifest]) {
        const answer = await client.putManifest(`${manifests}/sparse`, manifest);
        assert.is(answer.status, status, answer.body.toString());
      }
    }
  });
});

async function pushEntry(client: Client, dataSet: DataSet, entry: Entry): Promise<void> {
  const { manifest, tags } = entry;
  const query = dataSet.tagParameters === true ? tags.map((tag) => `tag=${tag}`).join("&") : "";
  const paths = dataSet.tagParameters === true ? [] : tags;
  for (const path of [`${manifest.digest}${query === "" ? "" : `?${query}`}`, ...paths]) {
    const answer = await client.putManifest(`${manifests}/${path}`, manifest);
    assert.is(answer.status, 201, answer.body.toString());
    assert.is(answer.headers["oci-subject"], entry.subject);
    if (query !== "") assert.is(answer.headers["oci-tag"], tags.join(", "));
    const stored = await client.send("GET", answer.headers["location"] ?? "");
    assert.is(stored.status, 200);
    assert.ok(stored.body.equals(manifest.bytes));
    assert.is(stored.headers["content-type"], manifest.mediaType);
  }
}

/** end-8a, end-8b: all tags, then those behind the middle one. */
async function checkTags(client: Client, { entries }: DataSet): Promise<void> {
  const pushed = entries.flatMap(({ tags }) => tags);
  const answer = await client.send("GET", "/v2/repo1/tags/list");
  assert.is(answer.status, 200);
  const listed = parseTags(answer.body);
  for (const tag of pushed) assert.ok(listed.includes(tag), `${tag} is listed`);
  if (listed.length < 2) return;
  const last = listed[Math.floor(listed.length / 2) - 1] ?? "";
  const rest = await client.send("GET", `/v2/repo1/tags/list?last=${last}`);
  assert.equal(parseTags(rest.body), listed.slice(Math.floor(listed.length / 2)));
}

function parseTags(body: Buffer): readonly string[] {
  return (JSON.parse(body.toString()) as { readonly tags: readonly string[] }).tags;
}

/** end-3: HEAD and GET, by tag and by digest. */
async function checkReadable(client: Client, { manifest, tags }: Entry): Promise<void> {
  for (const reference of [manifest.digest, ...tags]) {
    for (const method of ["HEAD", "GET"]) {
      const answer = await client.send(method, `${manifests}/${reference}`, { headers: accept });
      assert.is(answer.status, 200);
      assert.is(answer.headers["content-type"], manifest.mediaType);
      assert.is(answer.headers["content-length"], String(manifest.bytes.length));
      assert.is(answer.headers["docker-content-digest"], manifest.digest);
      assert.ok(answer.body.equals(method === "HEAD" ? Buffer.alloc(0) : manifest.bytes));
    }
  }
}

/** end-9, end-10: parents first; each is gone at once. */
async function deleteAll(client: Client, dataSet: DataSet): Promise<void> {
  for (const { manifest, tags } of dataSet.entries.toReversed()) {
    for (const reference of [...tags, manifest.digest]) {
      const path = `${manifests}/${reference}`;
      assert.is((await client.send("DELETE", path)).status, 202);
      assert.is((await client.send("HEAD", path)).status, 404);
    }
  }
  const digests = dataSet.blobs.map((blob) => digestOf(blob, dataSet.algorithm));
  for (const digest of new Set(digests)) {
    const path = `/v2/repo1/blobs/${digest}`;
    assert.is((await client.send("DELETE", path)).status, 202);
    assert.is((await client.send("HEAD", path)).status, 404);
  }
}
