import { mediaTypes } from "@strata/protocol/oci/media-type";

import { aReferrer } from "../conformance/data-sets.ts";
import { parseReferrers } from "../conformance/referrers.ts";
import { anImage } from "../support/images.ts";
import { type Client, createClient, errorCodes, randomBlob } from "../support/registry-client.ts";
import { aRegistryServer } from "../support/registry-server.ts";
import { assert, suite } from "../support/suite.ts";

/** Pushes an image and gives its digest. */
async function pushImage(client: Client, path: string, image = anImage()): Promise<string> {
  for (const blob of image.blobs) await client.pushBlob("repo1", blob);
  const answer = await client.putManifest(`/v2/repo1/manifests/${path}`, image.manifest);
  assert.is(answer.status, 201, answer.body.toString());
  return image.manifest.digest;
}

function parseList(body: Buffer, field: "tags" | "repositories"): readonly string[] {
  return (JSON.parse(body.toString()) as Record<typeof field, readonly string[]>)[field];
}

/** Follows `Link` from page to page. */
async function walk(client: Client, first: string): Promise<readonly Buffer[]> {
  const pages: Buffer[] = [];
  let path: string | undefined = first;
  while (path !== undefined) {
    const answer = await client.send("GET", path);
    assert.is(answer.status, 200, answer.body.toString());
    pages.push(answer.body);
    path = /^<([^>]+)>; rel="next"$/.exec(answer.headers["link"] ?? "")?.[1];
    assert.ok(pages.length < 100, "the list ends");
  }
  return pages;
}

suite("paging", (test) => {
  test("end-8b: tags come n at a time, in byte order, with a Link until the end", async () => {
    await using server = await aRegistryServer();
    const client = createClient(server.url);
    const tags = ["a", "B", "c", "10", "9", "_x", "z.z"];
    const digest = await pushImage(client, "a");
    const query = tags.map((tag) => `tag=${tag}`).join("&");
    await pushAgain(client, digest, query);
    const pages = await walk(client, "/v2/repo1/tags/list?n=2");
    assert.is(pages.length, 4);
    const sorted = tags.toSorted();
    assert.equal(
      pages.flatMap((page) => parseList(page, "tags")),
      sorted,
    );
    const exact = await client.send("GET", "/v2/repo1/tags/list?n=7");
    assert.is(exact.headers["link"], undefined, "no Link to an empty page");
  });

  test("end-8b: n=0 gives no tags and no Link; n that is no number is 400", async () => {
    await using server = await aRegistryServer();
    const client = createClient(server.url);
    await pushImage(client, "a");
    const none = await client.send("GET", "/v2/repo1/tags/list?n=0");
    assert.equal(JSON.parse(none.body.toString()), { name: "repo1", tags: [] });
    assert.is(none.headers["link"], undefined);
    for (const n of ["-1", "x", "1.5", ""]) {
      const answer = await client.send("GET", `/v2/repo1/tags/list?n=${n}`);
      assert.equal([answer.status, ...errorCodes(answer)], [400, "PAGINATION_NUMBER_INVALID"]);
    }
  });

  test("end-12a: referrers come in pages that keep the filter", async () => {
    await using server = await aRegistryServer();
    const client = createClient(server.url);
    const subject = anImage().manifest;
    for (let number = 0; number < 5; number += 1) {
      const artifactType = number === 4 ? "application/x" : "application/y+json";
      const referrer = aReferrer(subject, { artifactType, note: String(number) });
      await pushImage(client, referrer.manifest.digest, referrer);
    }
    const pages = await walk(
      client,
      `/v2/repo1/referrers/${subject.digest}?n=2&artifactType=application/y%2Bjson`,
    );
    assert.equal(
      pages.map((page) => parseReferrers(page).length),
      [2, 2],
    );
  });

  test("end-12a: a page of referrers stays within its bytes", async () => {
    await using server = await aRegistryServer({ limits: { referrersPageBytesMax: 1000 } });
    const client = createClient(server.url);
    const subject = anImage().manifest;
    for (let number = 0; number < 3; number += 1) {
      const referrer = aReferrer(subject, { artifactType: "application/x", note: "n".repeat(600) });
      await pushImage(client, referrer.manifest.digest, referrer);
    }
    const pages = await walk(client, `/v2/repo1/referrers/${subject.digest}`);
    assert.equal(
      pages.map((page) => parseReferrers(page).length),
      [1, 1, 1],
    );
  });

  test("_catalog lists the repositories that the caller may see", async () => {
    await using server = await aRegistryServer({
      authorize: ({ action, repository }) =>
        action === "list" && repository === "b/hidden"
          ? { kind: "denied" }
          : { kind: "allowed", subject: "tester" },
    });
    const client = createClient(server.url);
    for (const repository of ["b", "a", "b/hidden", "c/d"]) {
      await client.pushBlob(repository, randomBlob());
    }
    const pages = await walk(client, "/v2/_catalog?n=1");
    assert.is(pages.length, 4);
    assert.equal(
      pages.flatMap((page) => parseList(page, "repositories")),
      ["a", "b", "c/d"],
    );
  });
});

async function pushAgain(client: Client, digest: string, query: string): Promise<void> {
  const stored = await client.send("GET", `/v2/repo1/manifests/${digest}`);
  const manifest = { bytes: stored.body, mediaType: mediaTypes.manifest };
  const answer = await client.putManifest(`/v2/repo1/manifests/${digest}?${query}`, manifest);
  assert.is(answer.status, 201);
}
