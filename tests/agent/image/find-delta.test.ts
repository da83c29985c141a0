import { randomBytes } from "node:crypto";
import { fileURLToPath } from "node:url";
import { gunzipSync, gzipSync } from "node:zlib";

import { type BlobCache, openBlobCache } from "@strata/agent/image/blob-cache";
import { chooseBases, type OlderLayer } from "@strata/agent/image/choose-bases";
import type { AskDelta } from "@strata/agent/image/delta-client";
import { createFindDelta, type DeltaOptions } from "@strata/agent/image/find-delta";
import { createStoreSpeed } from "@strata/agent/image/store-speed";
import { createDelta } from "@strata/protocol/delta/delta";
import { type Digest, parseDigest } from "@strata/protocol/oci/digest";
import { mediaTypes } from "@strata/protocol/oci/media-type";

import { digestOf } from "../../support/registry-client.ts";
import { assert, suite } from "../../support/suite.ts";
import { aTemporaryDirectory } from "../../support/temporary.ts";

const KIB = 1024;

function layerOf(blob: Buffer): OlderLayer {
  return {
    digest: parseDigest(digestOf(blob)),
    diffId: parseDigest(digestOf(gunzipSync(blob))),
    size: blob.length,
  };
}

async function keep(cache: BlobCache, bytes: Buffer): Promise<void> {
  const writer = cache.writer(parseDigest(digestOf(bytes)), bytes.length);
  if (writer === undefined) throw new Error("no room");
  await writer.write(bytes);
  assert.ok(await writer.commit());
}

type Scene = AsyncDisposable & {
  readonly old: Buffer;
  readonly target: Buffer;
  readonly cache: BlobCache;
  /** The archive that is found, or undefined. */
  readonly find: (options?: Partial<DeltaOptions>) => Promise<Buffer | undefined>;
  /** Questions that reached the controller. */
  readonly asked: Digest[][];
};

function differenceOf(old: Buffer, target: Buffer): Buffer {
  return createDelta([gunzipSync(old)], gunzipSync(target)) ?? Buffer.alloc(0);
}

async function aScene(): Promise<Scene> {
  const folder = aTemporaryDirectory();
  const start = randomBytes(300 * KIB);
  const old = gzipSync(Buffer.concat([start, randomBytes(10 * KIB)]));
  const target = gzipSync(Buffer.concat([start, randomBytes(10 * KIB)]));
  const cache = openBlobCache({
    directory: `${folder.path}/blobs`,
    bytesMax: 10 * KIB * KIB,
    clock: () => 0,
    logger: { warn: () => undefined },
  });
  await keep(cache, old);
  const asked: Digest[][] = [];
  const ask: AskDelta = async ({ bases }, { bytesMax }) => {
    asked.push(bases);
    const bytes = differenceOf(old, target);
    assert.ok(bytes.length < bytesMax);
    return { bases: [layerOf(old).digest], bytes, archiveBytes: gunzipSync(target).length };
  };
  const entry = fileURLToPath(new URL("delta-worker-entry.ts", import.meta.url));
  return {
    old,
    target,
    cache,
    asked,
    find: async (options) => {
      const find = createFindDelta({
        mode: "always",
        cache,
        ask,
        olderLayers: (repository) => (repository === "app" ? [layerOf(old)] : []),
        speed: { bytesPerSecond: () => undefined },
        runner: { file: process.execPath, args: [entry] },
        logger: { info: () => undefined },
        ...options,
      });
      const { digest, diffId, size } = layerOf(target);
      const made = await find({
        repository: "app",
        layer: { diffId, descriptor: { mediaType: mediaTypes.layerGzip, digest, size } },
        signal: AbortSignal.timeout(60_000),
      });
      return made && Buffer.concat(await Array.fromAsync(made.chunks));
    },
    [Symbol.asyncDispose]: () => folder[Symbol.asyncDispose](),
  };
}

suite("a layer by its difference", (test) => {
  test("is put together from an older one as it was pulled, to the byte", async () => {
    await using scene = await aScene();
    assert.ok((await scene.find())?.equals(gunzipSync(scene.target)));
    assert.equal(scene.asked, [[layerOf(scene.old).digest]]);
  });

  test("is put together from one that was itself made by a difference", async () => {
    await using scene = await aScene();
    scene.cache.discard(layerOf(scene.old).digest);
    assert.is(await scene.find(), undefined);
    await keep(scene.cache, gunzipSync(scene.old));
    assert.ok((await scene.find())?.equals(gunzipSync(scene.target)));
  });

  test("is pulled whole at any doubt", async () => {
    await using scene = await aScene();
    const { old, target } = scene;
    const good = {
      bases: [layerOf(old).digest],
      bytes: differenceOf(old, target),
      archiveBytes: gunzipSync(target).length,
    };
    const answers: readonly AskDelta[] = [
      async () => undefined,
      async () => ({ ...good, bytes: Buffer.from("no delta at all") }),
      async () => ({ ...good, bytes: differenceOf(old, old) }),
      async () => ({ ...good, bases: [layerOf(target).digest] }),
      async () => ({ ...good, archiveBytes: good.archiveBytes + 1 }),
      async () => ({ ...good, archiveBytes: 1e15 }),
      async () => ({ ...good, archiveBytes: Number.NaN }),
      async () => {
        throw new Error("the controller is away");
      },
    ];
    for (const ask of answers) assert.is(await scene.find({ ask }), undefined);
    assert.ok(await scene.find({ ask: async () => good }));
  });

  test("is asked for where the line is slow, and never where it is switched off", async () => {
    await using scene = await aScene();
    const at = (bytesPerSecond: number | undefined): Partial<DeltaOptions> => ({
      mode: "auto",
      speed: { bytesPerSecond: () => bytesPerSecond },
    });
    for (const speed of [undefined, 100_000_000, 4_000_000])
      assert.is(await scene.find(at(speed)), undefined);
    assert.is(await scene.find({ mode: "off" }), undefined);
    assert.is(await scene.find({ olderLayers: () => [] }), undefined);
    assert.is(scene.asked.length, 0);
    // 310 KiB at 5 KiB a second: a minute is left for the delta.
    assert.ok(await scene.find(at(5 * KIB)));
  });
});

suite("what a layer is told by", (test) => {
  const layer = (size: number): OlderLayer => ({ ...layerOf(gzipSync(randomBytes(8))), size });

  test("is most like it in size", () => {
    const [near, far, small] = [layer(1_100), layer(3_000), layer(100)];
    assert.equal(chooseBases({ size: 1_000 }, [far, small, near, near]), [near, far]);
  });

  test("the store's speed follows its downloads, but not the tiny ones", () => {
    const speed = createStoreSpeed();
    assert.is(speed.bytesPerSecond(), undefined);
    speed.note(100, 1000);
    assert.is(speed.bytesPerSecond(), undefined);
    speed.note(2_000_000, 1000);
    speed.note(1_000_000, 1000);
    assert.is(speed.bytesPerSecond(), 1_500_000);
  });
});
