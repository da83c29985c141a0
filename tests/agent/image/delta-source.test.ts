import { randomBytes } from "node:crypto";
import { fileURLToPath } from "node:url";
import { gzipSync } from "node:zlib";

import { type BlobCache, openBlobCache } from "@strata/agent/image/blob-cache";
import { chooseBases, type LayerBlob } from "@strata/agent/image/choose-bases";
import type { AskDelta } from "@strata/agent/image/delta-client";
import { createDeltaSource, type DeltaSourceOptions } from "@strata/agent/image/delta-source";
import { createStoreSpeed } from "@strata/agent/image/store-speed";
import { createDelta } from "@strata/protocol/delta/delta";
import { type Digest, parseDigest } from "@strata/protocol/oci/digest";

import { digestOf } from "../../support/registry-client.ts";
import { assert, suite } from "../../support/suite.ts";
import { aTemporaryDirectory } from "../../support/temporary.ts";

const KIB = 1024;

function blobOf(bytes: Buffer): LayerBlob {
  return { digest: parseDigest(digestOf(bytes)), size: bytes.length };
}

async function keep(cache: BlobCache, bytes: Buffer): Promise<void> {
  const { digest, size } = blobOf(bytes);
  const writer = cache.writer(digest, size);
  if (writer === undefined) throw new Error("no room");
  await writer.write(bytes);
  assert.ok(await writer.commit());
}

type Scene = AsyncDisposable & {
  readonly old: Buffer;
  readonly target: Buffer;
  /** The bytes that the source gives, or undefined. */
  readonly pull: (options?: Partial<DeltaSourceOptions>) => Promise<Buffer | undefined>;
  /** Questions that reached the controller. */
  readonly asked: Digest[][];
};

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
    const bytes = createDelta([old], target);
    assert.ok((bytes?.length ?? bytesMax) < bytesMax);
    return bytes && { bases: [blobOf(old).digest], bytes };
  };
  const entry = fileURLToPath(new URL("delta-worker-entry.ts", import.meta.url));
  return {
    old,
    target,
    asked,
    pull: async (options) => {
      const source = createDeltaSource({
        mode: "always",
        cache,
        ask,
        olderLayers: (repository) => (repository === "app" ? [blobOf(old)] : []),
        speed: { bytesPerSecond: () => undefined },
        runner: { file: process.execPath, args: [entry] },
        logger: { info: () => undefined },
        ...options,
      });
      const made = await source.open({
        repository: "app",
        ...blobOf(target),
        offset: 0,
        signal: AbortSignal.timeout(60_000),
      });
      return made && Buffer.concat(await Array.fromAsync(made));
    },
    [Symbol.asyncDispose]: () => folder[Symbol.asyncDispose](),
  };
}

suite("a layer by its difference", (test) => {
  test("is put together from an older one, to the byte", async () => {
    await using scene = await aScene();
    assert.ok((await scene.pull())?.equals(scene.target));
    assert.equal(scene.asked, [[blobOf(scene.old).digest]]);
  });

  test("is pulled whole at any doubt", async () => {
    await using scene = await aScene();
    const base = blobOf(scene.old).digest;
    const answers: readonly AskDelta[] = [
      async () => undefined,
      async () => ({ bases: [base], bytes: Buffer.from("no delta at all") }),
      // A good one, of something else.
      async () => ({
        bases: [base],
        bytes: createDelta([scene.old], scene.old) ?? Buffer.alloc(0),
      }),
      async () => ({ bases: [blobOf(scene.target).digest], bytes: Buffer.alloc(1) }),
      async () => {
        throw new Error("the controller is away");
      },
    ];
    for (const ask of answers) {
      const made = await scene.pull({ ask }).catch(() => undefined);
      assert.is(made, undefined);
    }
  });

  test("is asked for where the line is slow, and never where it is switched off", async () => {
    await using scene = await aScene();
    const at = (bytesPerSecond: number | undefined): Partial<DeltaSourceOptions> => ({
      mode: "auto",
      speed: { bytesPerSecond: () => bytesPerSecond },
    });
    for (const speed of [undefined, 100_000_000, 4_000_000])
      assert.is(await scene.pull(at(speed)), undefined);
    assert.is(await scene.pull({ mode: "off" }), undefined);
    assert.is(await scene.pull({ olderLayers: () => [] }), undefined);
    assert.is(scene.asked.length, 0);
    // 310 KiB at 5 KiB a second: a minute is left for the delta.
    assert.ok((await scene.pull(at(5 * KIB)))?.equals(scene.target));
  });
});

suite("what a layer is told by", (test) => {
  const layer = (size: number): LayerBlob => ({ ...blobOf(randomBytes(8)), size });

  test("is most like it in size", () => {
    const [near, far, small] = [layer(1_100), layer(3_000), layer(100)];
    const chosen = chooseBases({ size: 1_000 }, [far, small, near, near]);
    assert.equal(chosen, [near.digest, far.digest]);
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
