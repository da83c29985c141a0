import { readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";

import type { Digest } from "@strata/protocol/oci/digest";
import type { CorruptBlob } from "@strata/registry/stored-blobs";

import { createClient, digestOf, randomBlob } from "../support/registry-client.ts";
import { aRegistryServer } from "../support/registry-server.ts";
import { assert, suite } from "../support/suite.ts";
import { aTemporaryDirectory } from "../support/temporary.ts";

const fast = { bytesPerSecondMax: Infinity };

function blobFile(folder: string, digest: string): string {
  const hex = digest.slice("sha256:".length);
  return join(folder, "blobs", "sha256", hex.slice(0, 2), hex);
}

function flipBit(path: string, position: number): void {
  const content = readFileSync(path);
  content[position] = (content[position] ?? 0) ^ (1 << (position % 8));
  writeFileSync(path, content);
}

suite("the scrub", (test) => {
  test("finds every flipped bit and lost file, quarantines, tells, and repairs from a source", async () => {
    await using folder = aTemporaryDirectory();
    const told: CorruptBlob[] = [];
    const cache = new Map<string, Buffer>();
    const source: { gives: boolean } = { gives: false };
    await using server = await aRegistryServer({
      folder: folder.path,
      onCorrupt: (corrupt) => told.push(corrupt),
      repair: async (digest) => {
        const bytes = cache.get(digest);
        return bytes === undefined || !source.gives ? undefined : pieces(bytes);
      },
    });
    const client = createClient(server.url);
    for (let number = 0; number < 80; number += 1) {
      const bytes = randomBlob(200 + number);
      cache.set(await client.pushBlob(number % 2 === 0 ? "a" : "b", bytes), bytes);
    }
    const harmed = [...cache.keys()].filter((_, number) => number % 4 !== 0).toSorted();
    harmed.forEach((digest, number) => {
      const path = blobFile(folder.path, digest);
      if (number % 10 === 0) rmSync(path);
      else flipBit(path, number);
    });
    const first = await server.registry.scrub(fast);
    assert.equal(first.corrupt.toSorted(), harmed);
    assert.equal(first.lost.toSorted(), harmed);
    assert.equal([first.blobs, first.complete, first.repaired.length], [80, true, 0]);
    assert.equal(told.map(({ digest }) => digest).toSorted(), harmed);
    assert.ok(told.every(({ repositories }) => repositories.length === 1));
    assert.is(readdirSync(join(folder.path, "quarantine")).length, 54);

    source.gives = true;
    const second = await server.registry.scrub(fast);
    assert.equal(second.repaired.toSorted(), harmed);
    assert.equal([second.blobs, second.corrupt.length, second.lost.length], [20, 0, 0]);
    for (const [digest, bytes] of cache) {
      const found = await Promise.all(
        ["a", "b"].map((repository) => client.send("GET", `/v2/${repository}/blobs/${digest}`)),
      );
      assert.ok(found.some(({ body }) => body.equals(bytes)));
    }
    assert.equal(readdirSync(join(folder.path, "uploads")), []);
    assert.equal((await server.registry.scrub(fast)).blobs, 80);
  });

  test("takes nothing from a source that gives other bytes, fails, or gives too many", async () => {
    await using folder = aTemporaryDirectory();
    const bytes = randomBlob(1_000);
    const sources = [
      () => pieces(randomBlob(1_000)),
      () => pieces(Buffer.concat([bytes, randomBlob(2_000)])),
      () => {
        throw new Error("no route to the node");
      },
    ];
    await using server = await aRegistryServer({
      folder: folder.path,
      limits: { blobSizeBytesMax: 1_500 },
      repair: async () => sources.pop()?.(),
    });
    const digest = await createClient(server.url).pushBlob("a", bytes);
    rmSync(blobFile(folder.path, digest));
    for (let turn = 0; turn < 4; turn += 1) {
      const report = await server.registry.scrub(fast);
      assert.equal([report.repaired, report.lost], [[], [digest as Digest]]);
    }
    assert.equal(sources.length, 0);
    assert.equal(readdirSync(join(folder.path, "uploads")), []);
  });

  test("goes on where it stopped", async () => {
    // Each look at the clock takes 10 ms.
    let now = 0;
    await using server = await aRegistryServer({ clock: () => (now += 10) });
    const client = createClient(server.url);
    const digests = new Set<string>();
    for (let number = 0; number < 10; number += 1) {
      digests.add(await client.pushBlob("a", randomBlob(100)));
    }
    const reports = [];
    for (let turn = 0; turn < 30 && reports.at(-1)?.complete !== true; turn += 1) {
      reports.push(await server.registry.scrub({ ...fast, durationMsMax: 60 }));
    }
    assert.ok(reports.length > 2);
    assert.is(
      reports.reduce((sum, { blobs }) => sum + blobs, 0),
      10,
    );
  });

  test("keeps to its pace, and leaves at once when it is told to", async () => {
    await using server = await aRegistryServer();
    await createClient(server.url).pushBlob("a", randomBlob(1_000));
    const ended = server.registry.scrub({
      bytesPerSecondMax: 0.001,
      signal: AbortSignal.timeout(20),
    });
    assert.equal((await ended).complete, false);
  });

  test("is not fooled by a blob that was deleted meanwhile", async () => {
    const told: CorruptBlob[] = [];
    await using server = await aRegistryServer({ onCorrupt: (corrupt) => told.push(corrupt) });
    const client = createClient(server.url);
    const bytes = randomBlob(3_000_000);
    const digest = await client.pushBlob("a", bytes);
    const scrubbing = server.registry.scrub({ bytesPerSecondMax: 30_000_000 });
    await client.send("DELETE", `/v2/a/blobs/${digest}`);
    assert.equal((await scrubbing).corrupt, []);
    assert.equal(told, []);
    assert.is(digestOf(bytes), digest);
  });
});

async function* pieces(bytes: Buffer): AsyncGenerator<Uint8Array> {
  for (let start = 0; start < bytes.length; start += 100) yield bytes.subarray(start, start + 100);
}
