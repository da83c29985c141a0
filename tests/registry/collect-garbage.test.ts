import { parseDigest } from "@strata/protocol/oci/digest";
import { mediaTypes } from "@strata/protocol/oci/media-type";
import type { GarbageReport } from "@strata/registry/collect-garbage";

import { anImage, anIndex, type BuiltImage, describeManifest } from "../support/images.ts";
import { type Client, createClient, digestOf } from "../support/registry-client.ts";
import { aRegistryServer, type RegistryServer } from "../support/registry-server.ts";
import { assert, suite } from "../support/suite.ts";

const HOUR_MS = 3_600_000;

async function push(
  client: Client,
  image: BuiltImage,
  { repository = "a", tag = "" }: { readonly repository?: string; readonly tag?: string } = {},
): Promise<string> {
  for (const blob of image.blobs) await client.pushBlob(repository, blob);
  const reference = tag === "" ? image.manifest.digest : tag;
  const answer = await client.putManifest(
    `/v2/${repository}/manifests/${reference}`,
    image.manifest,
  );
  assert.is(answer.status, 201);
  return image.manifest.digest;
}

function sizeOf(image: BuiltImage): number {
  return [image.manifest.bytes, ...image.blobs].reduce((sum, { length }) => sum + length, 0);
}

/** Tags, manifests, links, blobs, bytes. */
function counts(report: GarbageReport): readonly number[] {
  return [report.tags, report.manifests, report.links, report.blobs, report.bytes];
}

async function status(client: Client, path: string): Promise<number> {
  return (await client.send("GET", `/v2/${path}`)).status;
}

/** A server whose clock the test moves. */
async function aServer(options: Parameters<typeof aRegistryServer>[0] = {}): Promise<{
  readonly server: RegistryServer;
  readonly client: Client;
  readonly wait: (ms: number) => void;
  readonly [Symbol.asyncDispose]: () => PromiseLike<void>;
}> {
  let now = 1_000_000_000;
  const server = await aRegistryServer({ clock: () => now, ...options });
  return {
    server,
    client: createClient(server.url),
    wait: (ms) => (now += ms),
    [Symbol.asyncDispose]: () => server[Symbol.asyncDispose](),
  };
}

suite("garbage collection", (test) => {
  test("frees an untagged image with its blobs, and leaves the tagged one whole", async () => {
    await using fixture = await aServer();
    const { server, client, wait } = fixture;
    const [old, now] = [anImage(), anImage()];
    await push(client, old, { tag: "x" });
    await push(client, now, { tag: "x" });
    wait(25 * HOUR_MS);
    const report = await server.registry.collectGarbage();
    assert.equal(counts(report), [0, 1, 3, 3, sizeOf(old)]);
    assert.equal(report.repositories, 1);
    assert.equal(
      report.removed.map(({ kind, name }) => `${kind} ${name}`).toSorted(),
      [
        `manifest ${old.manifest.digest}`,
        ...old.blobs.map((b) => `blob ${digestOf(b)}`),
      ].toSorted(),
    );
    assert.is(await status(client, `a/manifests/${old.manifest.digest}`), 404);
    assert.is(await status(client, "a/manifests/x"), 200);
    for (const blob of now.blobs) assert.is(await status(client, `a/blobs/${digestOf(blob)}`), 200);
    for (const blob of old.blobs) assert.is(await status(client, `a/blobs/${digestOf(blob)}`), 404);
    assert.equal(counts(await server.registry.collectGarbage()), [0, 0, 0, 0, 0]);
    assert.equal(server.faults, []);
  });

  test("says in a dry run what it would do, byte for byte, and does nothing", async () => {
    await using fixture = await aServer();
    const { server, client, wait } = fixture;
    const image = anImage();
    // The same blobs in two repositories: bytes are freed once, with the last link.
    for (const repository of ["a", "b"]) {
      await push(client, image, { repository, tag: "x" });
      await client.send("DELETE", `/v2/${repository}/manifests/x`);
    }
    wait(25 * HOUR_MS);
    const dry = await server.registry.collectGarbage({ dryRun: true });
    assert.is(await status(client, `a/manifests/${image.manifest.digest}`), 200);
    wait(25 * HOUR_MS);
    const real = await server.registry.collectGarbage();
    assert.equal(dry, { ...real, dryRun: true });
    assert.equal(counts(real), [0, 2, 6, 3, sizeOf(image) + image.manifest.bytes.length]);
  });

  test("leaves for the grace what was pushed, mounted or asked for, and forgets it later", async () => {
    await using fixture = await aServer();
    const { server, client, wait } = fixture;
    const blobs = [Buffer.from("pushed"), Buffer.from("mounted"), Buffer.from("asked for")];
    const [pushed = "", mounted = "", asked = ""] = await Promise.all(
      blobs.map((blob) => client.pushBlob("a", blob)),
    );
    wait(2 * HOUR_MS);
    await client.pushBlob("a", Buffer.from("pushed"));
    await client.send("POST", `/v2/b/blobs/uploads/?mount=${mounted}&from=a`);
    await client.send("HEAD", `/v2/a/blobs/${asked}`);
    const collect = (): Promise<GarbageReport> =>
      server.registry.collectGarbage({ graceMs: HOUR_MS });
    assert.equal(counts(await collect()), [0, 0, 1, 0, 0]);
    assert.is(await status(client, `a/blobs/${pushed}`), 200);
    assert.is(await status(client, `a/blobs/${mounted}`), 404);
    assert.is(await status(client, `b/blobs/${mounted}`), 200);
    assert.is(await status(client, `a/blobs/${asked}`), 200);
    wait(HOUR_MS);
    assert.is((await collect()).blobs, 3);
  });

  test("keeps a child that somebody asked for, so that the index pushed next is accepted", async () => {
    await using fixture = await aServer();
    const { server, client, wait } = fixture;
    const child = anImage();
    await push(client, child);
    wait(25 * HOUR_MS);
    assert.is((await client.send("HEAD", `/v2/a/manifests/${child.manifest.digest}`)).status, 200);
    assert.is((await server.registry.collectGarbage()).manifests, 0);
    const index = anIndex([describeManifest(child.manifest)]);
    assert.is((await client.putManifest("/v2/a/manifests/x", index)).status, 201);
  });

  test("keeps what runs, and tells of each tag that a policy takes", async () => {
    const moved: string[] = [];
    await using fixture = await aServer({
      onTagMoved: ({ repository, tag, digest }) => {
        if (digest === undefined) moved.push(`${repository}:${tag}`);
      },
    });
    const { server, client, wait } = fixture;
    const running = parseDigest(await push(client, anImage(), { repository: "t/app", tag: "v1" }));
    for (const tag of ["v2", "v3", "v4"]) {
      await push(client, anImage(), { repository: "t/app", tag });
      wait(HOUR_MS);
    }
    await push(client, anImage(), { repository: "other", tag: "v1" });
    wait(25 * HOUR_MS);
    const report = await server.registry.collectGarbage({
      policies: [{ repositories: ["t/*"], keepLast: 1 }],
      keep: (repository) => new Set(repository === "t/app" ? [running] : []),
    });
    assert.equal(moved.toSorted(), ["t/app:v2", "t/app:v3"]);
    assert.is(report.manifests, 2);
    for (const path of ["t/app/manifests/v1", "t/app/manifests/v4", "other/manifests/v1"]) {
      assert.is(await status(client, path), 200);
    }
  });

  test("collects a subject with its referrers, and keeps both while the subject has a tag", async () => {
    await using fixture = await aServer();
    const { server, client, wait } = fixture;
    const image = anImage();
    await push(client, image, { tag: "x" });
    const subject = describeManifest(image.manifest);
    const signature = anImage({ fields: { subject, artifactType: "application/x.sig" } });
    await push(client, signature);
    wait(25 * HOUR_MS);
    assert.is((await server.registry.collectGarbage()).manifests, 0);
    await client.send("DELETE", "/v2/a/manifests/x");
    wait(25 * HOUR_MS);
    assert.equal(counts(await server.registry.collectGarbage()).slice(0, 4), [0, 2, 6, 6]);
    const { body } = await client.send("GET", `/v2/a/referrers/${image.manifest.digest}`);
    assert.match(body.toString(), mediaTypes.index);
    assert.match(body.toString(), /"manifests":\[\]/);
  });

  test("remembers across a restart what was pulled", async () => {
    await using fixture = await aServer();
    const { server, client, wait } = fixture;
    await push(client, anImage(), { tag: "old" });
    await push(client, anImage(), { tag: "pulled" });
    wait(100 * HOUR_MS);
    assert.is(await status(client, "a/manifests/pulled"), 200);
    await server.registry.sweepUploads();
    wait(50 * HOUR_MS);
    const report = await server.registry.collectGarbage({
      policies: [{ repositories: ["*"], keepPulledWithinMs: 60 * HOUR_MS }],
    });
    assert.equal(report.removed[0]?.name, "old");
    assert.is(report.tags, 1);
  });

  test("ends between two repositories when it is told to", async () => {
    await using fixture = await aServer();
    const { server, client, wait } = fixture;
    for (const repository of ["a", "b"]) await push(client, anImage(), { repository });
    wait(25 * HOUR_MS);
    const controller = new AbortController();
    const report = await server.registry.collectGarbage({
      signal: controller.signal,
      keep: (repository) => {
        if (repository === "a") controller.abort();
        return new Set();
      },
    });
    assert.equal([report.aborted, report.repositories, report.manifests], [true, 1, 1]);
  });
});
