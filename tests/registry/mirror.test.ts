/** A store that mirrors Debian's docker-registry. */
import { readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";

import { anImage, anIndex, describeManifest } from "../support/images.ts";
import { missingPrograms } from "../support/installed.ts";
import {
  aMirrorScene,
  blobRequests,
  expectImage,
  type MirrorScene,
  pushTo,
} from "../support/mirror-scene.ts";
import { type Answer, digestOf, errorCodes, randomBlob } from "../support/registry-client.ts";
import { assert, suite } from "../support/suite.ts";

const slow = { timeoutMs: 120_000 };

/** The file in which docker-registry keeps what has this digest. */
function upstreamFile({ upstream }: MirrorScene, digest: string): string {
  const hex = digest.slice("sha256:".length);
  const blobs = join(upstream.folder, "data", "docker", "registry", "v2", "blobs", "sha256");
  return join(blobs, hex.slice(0, 2), hex, "data");
}

/** Changes one byte, and not the length. */
function alter(path: string, at: number): void {
  const bytes = readFileSync(path);
  bytes[at] = (bytes[at] ?? 0) ^ 1;
  writeFileSync(path, bytes);
}

async function getBlob(
  { client }: MirrorScene,
  blob: Buffer,
  headers: Readonly<Record<string, string>> = {},
): Promise<Answer> {
  return client.send("GET", `/v2/hub/app/blobs/${digestOf(blob)}`, { headers });
}

/** Nothing of a fetch that failed may be left. */
function expectNoRemains({ folder }: MirrorScene): void {
  assert.equal(readdirSync(join(folder, "store", "uploads")), []);
}

suite("a mirror", (test) => {
  if (missingPrograms(["docker-registry"]).length > 0) {
    test.skip("pull-through", "needs docker-registry");
    return;
  }

  test(
    "brings what is pulled, and serves it when the upstream is gone",
    async () => {
      await using scene = await aMirrorScene();
      const { client, source, upstream, clock, relay } = scene;
      const image = anImage({ layers: [randomBlob(3_000_000), randomBlob(0), randomBlob(1)] });
      await pushTo(source, ["app", "v1"], image);
      const layer = image.blobs[1] ?? Buffer.alloc(0);
      const head = await client.send("HEAD", `/v2/hub/app/blobs/${digestOf(layer)}`);
      assert.equal([head.status, head.headers["content-length"]], [200, String(layer.length)]);
      await expectImage(client, "hub/app", image);
      const asked = relay.requests.length;
      await expectImage(client, "hub/app", image);
      assert.is(relay.requests.length, asked, "what is here and current is not asked for again");
      await upstream.kill();
      clock.nowMs += 3_600_000;
      await expectImage(client, "hub/app", image);
      const { status, headers, body } = await client.send("GET", "/v2/hub/app/manifests/other");
      assert.equal([status, headers["retry-after"]], [503, "30"], body.toString());
      assert.equal(
        JSON.parse((await client.send("GET", "/v2/hub/app/tags/list")).body.toString()),
        {
          name: "hub/app",
          tags: ["v1"],
        },
      );
      assert.equal(scene.server.faults, []);
    },
    slow,
  );

  test(
    "follows a tag that moved after its time, and one that is gone",
    async () => {
      await using scene = await aMirrorScene();
      const { client, source, clock } = scene;
      const [first, second] = [anImage(), anImage()];
      await pushTo(source, ["app", "v1"], first);
      await expectImage(client, "hub/app", first);
      await pushTo(source, ["app", "v1"], second);
      clock.nowMs += 59_000;
      await expectImage(client, "hub/app", first);
      clock.nowMs += 2_000;
      await expectImage(client, "hub/app", second);
      const path = `/v2/hub/app/manifests/${first.manifest.digest}`;
      assert.is((await client.send("GET", path)).status, 200);
      await source.send("DELETE", `/v2/app/manifests/${second.manifest.digest}`);
      clock.nowMs += 61_000;
      assert.is((await client.send("GET", "/v2/hub/app/manifests/v1")).status, 404);
    },
    slow,
  );

  test(
    "clients that want a blob at the same time share one fetch",
    async () => {
      await using scene = await aMirrorScene();
      const { source, relay } = scene;
      const blob = randomBlob(5_000_000);
      await pushTo(source, ["app", "v1"], anImage({ layers: [blob] }));
      const held = Promise.withResolvers<void>();
      const release = Promise.withResolvers<void>();
      relay.onAnswer = (path) =>
        path.includes("/blobs/")
          ? { afterBytes: 1_000_000, wait: release.promise, onHeld: held.resolve, cut: false }
          : undefined;
      const first = getBlob(scene, blob);
      await held.promise;
      const others = Array.from({ length: 20 }, () => getBlob(scene, blob));
      const part = getBlob(scene, blob, { range: "bytes=10-19" });
      release.resolve();
      for (const { status, body } of await Promise.all([first, ...others])) {
        assert.is(status, 200);
        assert.ok(body.equals(blob));
      }
      const { status, body } = await part;
      assert.equal([status, body.toString("hex")], [206, blob.subarray(10, 20).toString("hex")]);
      assert.is(blobRequests(scene, blob).length, 1);
      assert.equal(scene.server.faults, []);
    },
    slow,
  );

  test(
    "streams to the client before the upstream is done",
    async () => {
      await using scene = await aMirrorScene();
      const { source, relay, server } = scene;
      const blob = randomBlob(4_000_000);
      await pushTo(source, ["app", "v1"], anImage({ layers: [blob] }));
      const release = Promise.withResolvers<void>();
      relay.onAnswer = (path) =>
        path.includes("/blobs/")
          ? { afterBytes: 2_000_000, wait: release.promise, cut: false }
          : undefined;
      const answer = await fetch(`${server.url}/v2/hub/app/blobs/${digestOf(blob)}`);
      let received = 0;
      for await (const chunk of answer.body ?? []) {
        received += chunk.length;
        // Only once half of it is here does the upstream go on.
        if (received >= 2_000_000) release.resolve();
      }
      assert.is(received, blob.length);
    },
    slow,
  );

  test(
    "goes on where a broken connection left off",
    async () => {
      await using scene = await aMirrorScene();
      const { source, relay } = scene;
      const blob = randomBlob(3_000_000);
      await pushTo(source, ["app", "v1"], anImage({ layers: [blob] }));
      const breaks = [700_000, 900_000];
      relay.onAnswer = (path) => {
        const afterBytes = path.includes("/blobs/") ? breaks.shift() : undefined;
        return afterBytes === undefined ? undefined : { afterBytes, cut: true };
      };
      const { status, body } = await getBlob(scene, blob);
      assert.is(status, 200);
      assert.ok(body.equals(blob));
      const starts = blobRequests(scene, blob).map((line) =>
        Number(/bytes=(\d+)-$/.exec(line)?.[1] ?? 0),
      );
      // What was on its way when it broke may be lost.
      const [first, second = 0, third = 0] = starts;
      assert.equal([starts.length, first], [3, 0]);
      assert.ok(second > 0 && second <= 700_000 && third > second && third <= second + 900_000);
    },
    slow,
  );

  test(
    "an upstream killed in mid blob leaves nothing; when it is back the blob comes",
    async () => {
      await using scene = await aMirrorScene();
      const { source, relay, upstream } = scene;
      const blob = randomBlob(8_000_000);
      await pushTo(source, ["app", "v1"], anImage({ layers: [blob] }));
      const held = Promise.withResolvers<void>();
      const release = Promise.withResolvers<void>();
      relay.onAnswer = (path) =>
        path.includes("/blobs/")
          ? { afterBytes: 100_000, wait: release.promise, onHeld: held.resolve, cut: true }
          : undefined;
      const broken = getBlob(scene, blob).then(
        () => "whole",
        () => "cut off",
      );
      await held.promise;
      await upstream.kill();
      release.resolve();
      assert.is(await broken, "cut off");
      expectNoRemains(scene);
      assert.is((await getBlob(scene, blob)).status, 503);
      relay.onAnswer = undefined;
      await upstream.start();
      const { status, body } = await getBlob(scene, blob);
      assert.is(status, 200);
      assert.ok(body.equals(blob));
      assert.equal(scene.server.faults, []);
    },
    slow,
  );

  test(
    "an upstream that lies is never believed",
    async () => {
      await using scene = await aMirrorScene();
      const { client, source, relay } = scene;
      const blob = randomBlob(2_000_000);
      const image = anImage({ layers: [blob] });
      await pushTo(source, ["app", "v1"], image);
      alter(upstreamFile(scene, digestOf(blob)), 1_999_999);
      const outcome = await getBlob(scene, blob).then(
        ({ body }) => `all ${body.length} bytes`,
        () => "cut off",
      );
      assert.is(outcome, "cut off");
      const part = await getBlob(scene, blob, { range: "bytes=0-9" });
      assert.equal([part.status, ...errorCodes(part)], [502, "UPSTREAM_FAULTY"]);
      expectNoRemains(scene);
      // docker-registry looks at manifests itself, so somebody on the way has to lie.
      const lie = (bytes: Buffer): Buffer => Buffer.from(bytes.map((byte) => byte ^ 1));
      relay.onAnswer = () => ({ afterBytes: Infinity, cut: false, alter: lie });
      for (const reference of ["v1", image.manifest.digest]) {
        const answer = await client.send("GET", `/v2/hub/app/manifests/${reference}`);
        assert.equal([answer.status, ...errorCodes(answer)], [502, "UPSTREAM_FAULTY"]);
      }
      relay.onAnswer = undefined;
      alter(upstreamFile(scene, digestOf(blob)), 1_999_999);
      await expectImage(client, "hub/app", image);
    },
    slow,
  );

  test(
    "an index, its images and its tags come one by one",
    async () => {
      await using scene = await aMirrorScene();
      const { client, source } = scene;
      const images = [anImage(), anImage()];
      for (const image of images) await pushTo(source, ["app"], image);
      const index = anIndex(images.map(({ manifest }) => describeManifest(manifest)));
      for (const tag of ["v1", "v2", "v3"]) {
        await source.putManifest(`/v2/app/manifests/${tag}`, index);
      }
      const { body } = await client.send("GET", "/v2/hub/app/manifests/v2");
      assert.ok(body.equals(index.bytes));
      for (const { manifest } of images) {
        const path = `/v2/hub/app/manifests/${manifest.digest}`;
        assert.ok((await client.send("GET", path)).body.equals(manifest.bytes));
      }
      const tags = await client.send("GET", "/v2/hub/app/tags/list?n=2");
      assert.match(tags.body.toString(), `"tags":["v1","v2"]`);
      const next = /<([^>]+)>/.exec(tags.headers["link"] ?? "")?.[1] ?? "";
      assert.match((await client.send("GET", next)).body.toString(), `"tags":["v3"]`);
    },
    slow,
  );

  test(
    "blobs over the limit are refused before their first byte",
    async () => {
      await using scene = await aMirrorScene({ server: { limits: { blobSizeBytesMax: 10_000 } } });
      const { source } = scene;
      const blob = randomBlob(10_001);
      await pushTo(source, ["app", "v1"], anImage({ layers: [blob] }));
      const answer = await getBlob(scene, blob);
      assert.equal([answer.status, ...errorCodes(answer)], [413, "BLOB_TOO_LARGE"]);
      expectNoRemains(scene);
    },
    slow,
  );

  test(
    "a blob that was damaged here is repaired from the upstream",
    async () => {
      await using scene = await aMirrorScene();
      const { client, source, server, folder } = scene;
      const image = anImage({ layers: [randomBlob(100_000)] });
      await pushTo(source, ["app", "v1"], image);
      await expectImage(client, "hub/app", image);
      const digest = digestOf(image.blobs[1] ?? Buffer.alloc(0));
      const hex = digest.slice("sha256:".length);
      alter(join(folder, "store", "blobs", "sha256", hex.slice(0, 2), hex), 50_000);
      const report = await server.registry.scrub({ bytesPerSecondMax: 1e9 });
      assert.equal([report.corrupt, report.repaired, report.lost], [[digest], [digest], []]);
      await expectImage(client, "hub/app", image);
    },
    slow,
  );

  test(
    "many clients at random see whole blobs or none, while connections break",
    async () => {
      await using scene = await aMirrorScene();
      const { source, relay } = scene;
      const blobs = Array.from({ length: 6 }, (_, index) => randomBlob(200_000 * (index + 1)));
      await pushTo(source, ["app", "v1"], anImage({ layers: blobs }));
      let count = 0;
      relay.onAnswer = (path) => {
        count += 1;
        return path.includes("/blobs/") && count % 3 === 0
          ? { afterBytes: 65_000 + count * 1_000, cut: true }
          : undefined;
      };
      const pulls = Array.from({ length: 60 }, async (_, index) => {
        const blob = blobs[index % blobs.length] ?? Buffer.alloc(0);
        const answer = await getBlob(scene, blob).catch(() => undefined);
        if (answer?.status === 200) assert.ok(answer.body.equals(blob));
        return answer?.status;
      });
      const statuses = await Promise.all(pulls);
      assert.ok(statuses.filter((status) => status === 200).length >= 50, statuses.join(" "));
      assert.equal(scene.server.faults, []);
    },
    slow,
  );
});
