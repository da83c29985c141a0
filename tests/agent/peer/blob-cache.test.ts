import { createHash, randomBytes } from "node:crypto";
import { readdirSync, readFileSync, rmdirSync } from "node:fs";
import { join } from "node:path";

import { type BlobCache, openBlobCache } from "@strata/agent/image/blob-cache";
import { type Digest, parseDigest } from "@strata/protocol/oci/digest";

import { assert, suite } from "../../support/suite.ts";
import { aTemporaryDirectory } from "../../support/temporary.ts";

const never = new AbortController().signal;

suite("blob cache", (test) => {
  test("gives back what was written, also in a later life", async () => {
    await using folder = aTemporaryDirectory();
    const blob = aBlob(3_000_000);
    const cache = aCache(folder.path);
    assert.is(await keep(cache, blob), true);
    for (const life of [cache, aCache(folder.path)]) {
      using held = life.open(blob.digest);
      assert.is(held?.size, blob.bytes.length);
      assert.ok(readFileSync(held?.path ?? "").equals(blob.bytes));
      assert.equal(life.list(), [{ digest: blob.digest, size: blob.bytes.length }]);
    }
    assert.equal(readdirSync(join(folder.path, "blobs", "incoming")), []);
  });

  test("lets a blob be read while it grows, from any offset", async () => {
    await using folder = aTemporaryDirectory();
    const blob = aBlob(1_000_000);
    const cache = aCache(folder.path);
    const writer = cache.writer(blob.digest, blob.bytes.length);
    await writer?.write(blob.bytes.subarray(0, 10));
    using early = cache.follow(blob.digest);
    using late = cache.follow(blob.digest);
    const reads = [read(early?.stream(0, never)), read(late?.stream(999_999, never))];
    assert.is(cache.open(blob.digest), undefined);
    await writer?.write(blob.bytes.subarray(10));
    await writer?.commit();
    const [whole, last] = await Promise.all(reads);
    assert.ok(whole?.equals(blob.bytes));
    assert.ok(last?.equals(blob.bytes.subarray(999_999)));
  });

  test("ends the reading of a blob that does not become whole as an error", async () => {
    await using folder = aTemporaryDirectory();
    const blob = aBlob(1000);
    const cache = aCache(folder.path);
    const writer = cache.writer(blob.digest, blob.bytes.length);
    await writer?.write(blob.bytes.subarray(0, 500));
    using reader = cache.follow(blob.digest);
    const reading = read(reader?.stream(0, never)).then(
      () => "whole",
      () => "broken",
    );
    await writer?.abandon();
    assert.is(await reading, "broken");
    assert.is(cache.follow(blob.digest), undefined);
    assert.equal(readdirSync(join(folder.path, "blobs", "incoming")), []);
    assert.is(await keep(cache, blob), true);
  });

  test("lets go of a reader that waits and is no longer wanted", async () => {
    await using folder = aTemporaryDirectory();
    const blob = aBlob(1000);
    const cache = aCache(folder.path);
    const writer = cache.writer(blob.digest, 1000);
    const abort = new AbortController();
    using reader = cache.follow(blob.digest);
    const reading = read(reader?.stream(0, abort.signal));
    abort.abort();
    assert.is((await reading).length, 0);
    await writer?.abandon();
  });

  test("keeps no blob of another size than was said", async () => {
    await using folder = aTemporaryDirectory();
    const blob = aBlob(1000);
    const cache = aCache(folder.path);
    const writer = cache.writer(blob.digest, 1001);
    await writer?.write(blob.bytes);
    assert.is(await writer?.commit(), false);
    assert.is(cache.follow(blob.digest), undefined);
  });

  test("has one writer for a blob, and none for one that is here", async () => {
    await using folder = aTemporaryDirectory();
    const blob = aBlob(1000);
    const cache = aCache(folder.path);
    const writer = cache.writer(blob.digest, 1000);
    assert.is(cache.writer(blob.digest, 1000), undefined);
    await writer?.write(blob.bytes);
    await writer?.commit();
    assert.is(cache.writer(blob.digest, 1000), undefined);
  });

  test("deletes what was used longest ago, never what is held or on its way", async () => {
    await using folder = aTemporaryDirectory();
    const changes: string[] = [];
    const cache = aCache(folder.path, {
      bytesMax: 3000,
      onChange: (digest, change) => changes.push(`${change} ${digest}`),
    });
    const [a, b, c, d] = [aBlob(1000), aBlob(1000), aBlob(1000), aBlob(1000)];
    for (const blob of [a, b, c]) await keep(cache, blob);
    const held = cache.open(a.digest);
    cache.open(b.digest)?.[Symbol.dispose]();
    await keep(cache, d);
    assert.equal(digestsOf(cache), [a.digest, b.digest, d.digest]);
    assert.is(changes.at(-2), `gone ${c.digest}`);
    assert.is(changes.at(-1), `kept ${d.digest}`);
    assert.is(cache.writer(aBlob(1).digest, 2500), undefined);
    assert.is(cache.list().length, 3);
    held?.[Symbol.dispose]();
    const writer = cache.writer(aBlob(1).digest, 3000);
    assert.equal(cache.list(), []);
    assert.is(cache.writer(b.digest, 1000), undefined);
    await writer?.abandon();
  });

  test("knows after a restart what was used last, and keeps to a smaller limit", async () => {
    await using folder = aTemporaryDirectory();
    let now = 1_000_000;
    const clock = (): number => (now += 60_000);
    const cache = aCache(folder.path, { clock });
    const [a, b, c] = [aBlob(1000), aBlob(1000), aBlob(1000)];
    for (const blob of [a, b, c]) await keep(cache, blob);
    for (const blob of [a, c, b]) cache.open(blob.digest)?.[Symbol.dispose]();
    assert.equal(digestsOf(aCache(folder.path)), [a.digest, c.digest, b.digest]);
    assert.equal(digestsOf(aCache(folder.path, { bytesMax: 1500 })), [b.digest]);
    assert.equal(digestsOf(aCache(folder.path, { bytesMax: 0 })), []);
    assert.equal(readdirSync(join(folder.path, "blobs", "sha256")), []);
  });

  test("keeps nothing when it is off", async () => {
    await using folder = aTemporaryDirectory();
    const cache = aCache(folder.path, { bytesMax: 0 });
    assert.is(cache.writer(aBlob(1).digest, 1), undefined);
  });

  test("fails no pull when the disk takes nothing", async () => {
    await using folder = aTemporaryDirectory();
    const warnings: string[] = [];
    const cache = aCache(folder.path, { logger: { warn: (text) => warnings.push(text) } });
    rmdirSync(join(folder.path, "blobs", "incoming"));
    assert.is(cache.writer(aBlob(1).digest, 1), undefined);
    assert.is(warnings.length, 1);
  });

  test("discards a blob that is not what it should be", async () => {
    await using folder = aTemporaryDirectory();
    const blob = aBlob(1000);
    const cache = aCache(folder.path);
    await keep(cache, blob);
    cache.discard(blob.digest);
    cache.discard(blob.digest);
    assert.is(cache.open(blob.digest), undefined);
    assert.is(await keep(cache, blob), true);
  });
});

type Blob = { readonly digest: Digest; readonly bytes: Buffer };

function aBlob(size: number): Blob {
  const bytes = randomBytes(size);
  return {
    bytes,
    digest: parseDigest(`sha256:${createHash("sha256").update(bytes).digest("hex")}`),
  };
}

function aCache(
  path: string,
  options: Partial<Parameters<typeof openBlobCache>[0]> = {},
): BlobCache {
  return openBlobCache({
    directory: join(path, "blobs"),
    bytesMax: 1024 ** 3,
    clock: Date.now,
    logger: { warn: (text) => assert.unreachable(text) },
    ...options,
  });
}

async function keep(cache: BlobCache, { digest, bytes }: Blob): Promise<boolean | undefined> {
  const writer = cache.writer(digest, bytes.length);
  for (let at = 0; at < bytes.length; at += 65_536) {
    await writer?.write(bytes.subarray(at, at + 65_536));
  }
  return writer?.commit();
}

async function read(chunks: AsyncIterable<Buffer> | undefined): Promise<Buffer> {
  const parts: Buffer[] = [];
  for await (const chunk of chunks ?? []) parts.push(chunk);
  return Buffer.concat(parts);
}

function digestsOf(cache: BlobCache): readonly string[] {
  return cache.list().map(({ digest }) => digest);
}
