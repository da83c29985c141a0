import { spawn } from "node:child_process";
import { randomBytes } from "node:crypto";
import { once } from "node:events";
import {
  closeSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeSync,
} from "node:fs";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { fileURLToPath } from "node:url";

import { openBlobCache } from "@strata/agent/image/blob-cache";
import type { ImageRecord } from "@strata/agent/image/image-record";
import type { ReadyImage } from "@strata/agent/image/image-store";
import {
  createLayerGc,
  type LayerGc,
  type LayerGcOptions,
  planRemovals,
  readDiskShare,
} from "@strata/agent/image/layer-gc";
import { createLogger } from "@strata/agent/logger";
import { type Digest, parseDigest } from "@strata/protocol/oci/digest";
import fc from "fast-check";

import { aRegistryServer } from "../../support/registry-server.ts";
import { aSmallDisk, aSmallExt4 } from "../../support/small-disk.ts";
import { assert, rejectsWithCode, suite } from "../../support/suite.ts";
import { aTar, file } from "../layer/tar-builder.ts";
import { anAppImage, pushApp } from "./an-app-image.ts";
import { anImageStore, type TestStore } from "./an-image-store.ts";

/** Layers are unpacked by programs, a dozen of them one after the other. */
const busyMachine = { timeoutMs: 150_000 };
const MIB = 1024 ** 2;
const HOUR_MS = 3_600_000;
const logger = createLogger("silent");
const never = new AbortController().signal;
const noBlobs = { dropOldest: () => false };

/** An image of one layer, of bytes that cannot be compressed. */
async function pushed(url: string, bytes: number): Promise<Digest> {
  const content = randomBytes(bytes).toString("latin1");
  return parseDigest(await pushApp(url, anAppImage([aTar([file("data", content)])])));
}

type GcOptions = Partial<LayerGcOptions> & { readonly images: TestStore };

function aGc({ images, ...options }: GcOptions): LayerGc {
  return createLayerGc({
    store: images.store,
    blobs: noBlobs,
    inUse: () => new Set(),
    limits: { highShare: 0.6, lowShare: 0.4, keepMs: 0 },
    readDisk: () => readDiskShare(images.directory),
    clock: () => 0,
    logger,
    ...options,
  });
}

const heldBy = (images: TestStore): ReadonlySet<Digest> =>
  new Set(images.store.list().map(({ digest }) => digest));

suite("images that nothing runs", (test) => {
  test("go when the disk is too full, the one used longest ago first, until it is not", async () => {
    await using registry = await aRegistryServer();
    await using disk = aSmallDisk(64 * MIB);
    let now = 0;
    const clock = (): number => now;
    await using images = anImageStore(registry.url, { directory: join(disk.path, "i"), clock });
    const pulled: Digest[] = [];
    for (let index = 0; index < 4; index += 1) {
      pulled.push(await pushed(registry.url, 11 * MIB));
      await images.pull(pulled[index] ?? "");
      now += 2 * HOUR_MS;
    }
    const [oldest, second, third, newest] = pulled;
    if (oldest === undefined) throw new Error("nothing was pulled");
    assert.ok(readDiskShare(disk.path) > 0.6);
    const gc = aGc({ images, clock, inUse: () => new Set([oldest]) });
    assert.ok(await gc.collect());
    assert.ok(readDiskShare(disk.path) <= 0.4);
    assert.equal(heldBy(images), new Set([oldest, newest]));
    assert.not.ok([second, third].some((digest) => digest && heldBy(images).has(digest)));
    assert.not.ok(await gc.collect(), "there is nothing to do below the mark");
  });

  test("go by age however much room there is, unless they are in use", async () => {
    await using registry = await aRegistryServer();
    let now = 0;
    const clock = (): number => now;
    await using images = anImageStore(registry.url, { clock });
    const [used, old] = [await pushed(registry.url, 1000), await pushed(registry.url, 1000)];
    await images.pull(used);
    await images.pull(old);
    now = 100 * HOUR_MS;
    const recent = await pushed(registry.url, 1000);
    await images.pull(recent);
    const limits = { highShare: 1, lowShare: 0.99, keepMs: 50 * HOUR_MS };
    let inUse = new Set([used]);
    const gc = aGc({ images, clock, limits, inUse: () => inUse });
    await gc.collect();
    assert.equal(heldBy(images), new Set([used, recent]));
    // Its age counts from the last pass that saw it in use.
    inUse = new Set();
    now += 40 * HOUR_MS;
    await gc.collect();
    assert.equal(heldBy(images), new Set([used, recent]));
    now += 20 * HOUR_MS;
    await gc.collect();
    assert.equal(heldBy(images), new Set());
  });

  test("make room for a pull that finds none, and for no other than they can", async () => {
    await using registry = await aRegistryServer();
    await using disk = aSmallDisk(40 * MIB);
    await using images = anImageStore(registry.url, { directory: join(disk.path, "i") });
    const first = await pushed(registry.url, 16 * MIB);
    const second = await pushed(registry.url, 16 * MIB);
    const third = await pushed(registry.url, 16 * MIB);
    const inUse = new Set([first]);
    const gc = aGc({ images, inUse: () => inUse });
    const ensure = (digest: Digest): Promise<unknown> =>
      gc.ensure({ repository: "app", digest }, { signal: never });
    await ensure(first);
    await ensure(second);
    inUse.add(third);
    await ensure(third);
    assert.equal(heldBy(images), new Set([first, third]));
    // All that is here is in use now.
    await rejectsWithCode(ensure(second), "LAYER_NO_SPACE");
    assert.equal(heldBy(images), new Set([first, third]));
  });

  test("go from a disk that has no room for as much as a folder", async () => {
    await using registry = await aRegistryServer();
    await using disk = aSmallExt4(24 * MIB);
    await using images = anImageStore(registry.url, { directory: join(disk.path, "i") });
    const digest = await pushed(registry.url, 4 * MIB);
    await images.pull(digest);
    fillUp(join(disk.path, "fill"));
    assert.throws(() => mkdirSync(join(disk.path, "new")), "ENOSPC");
    assert.ok(await aGc({ images }).collect());
    assert.equal([heldBy(images), images.layers(), images.incoming()], [new Set(), [], []]);
    await images.pull(digest);
  });

  test("go after the compressed layers that are kept beside them, and what pulls left behind", async () => {
    await using registry = await aRegistryServer();
    await using disk = aSmallDisk(64 * MIB);
    const directory = join(disk.path, "i");
    const blobs = openBlobCache({
      directory: join(directory, "blobs"),
      bytesMax: 64 * MIB,
      clock: () => 0,
      logger,
    });
    await using images = anImageStore(registry.url, { directory, blobs });
    const digest = await pushed(registry.url, 12 * MIB);
    await images.pull(digest);
    assert.is(blobs.list().length, 1);
    const gc = aGc({ images, blobs });
    await gc.collect(0.3);
    assert.is(blobs.list().length, 0);
    assert.equal(heldBy(images), new Set([digest]));

    const orphaned = anAppImage([aTar([file("lost", randomBytes(8 * MIB).toString("latin1"))])]);
    const record = await pushApp(registry.url, orphaned);
    await images.pull(record);
    // As a pull of several layers leaves it that broke off before the last one.
    rmSync(join(directory, "images", `${record.replace(":", "-")}.json`));
    await gc.collect(0.3);
    assert.equal(heldBy(images), new Set([digest]));
    assert.is(images.layers().length, 1);
  });
});

/** Until not a byte more can be written. */
function fillUp(path: string): void {
  const fd = openSync(path, "w");
  try {
    for (const size of [MIB, 4096, 1]) {
      while (true) {
        try {
          writeSync(fd, Buffer.alloc(size));
        } catch {
          break;
        }
      }
    }
  } finally {
    closeSync(fd);
  }
}

suite("a layer that is wanted at the moment when it goes", (test) => {
  test(
    "is never taken from whom it was given to",
    async () => {
      await using registry = await aRegistryServer();
      await using images = anImageStore(registry.url);
      const shared = aTar([file("shared", "base")]);
      const digests = await Promise.all(
        ["one", "two"].map(async (name) =>
          parseDigest(await pushApp(registry.url, anAppImage([shared, aTar([file(name)])]))),
        ),
      );
      const inUse = new Set<Digest>();
      const gc = aGc({ images, inUse: () => inUse, readDisk: () => 1 });
      for (let round = 0; round < 12; round += 1) {
        inUse.clear();
        const digest = digests[round % 2];
        if (digest === undefined) throw new Error("there are two images");
        const passes = [gc.collect(0.5), gc.collect(0.5)];
        await delay(round % 6);
        // As an assignment does it: wanted first, then fetched.
        inUse.add(digest);
        const ready = await images.store.ensure({ repository: "app", digest }, { signal: never });
        requireWhole(ready);
        await Promise.all(passes);
        await gc.collect(0.5);
        requireWhole(ready);
      }
    },
    busyMachine,
  );
});

function requireWhole({ layers }: ReadyImage): void {
  for (const { directory } of layers) assert.is(readdirSync(directory).length, 1);
}

suite("an agent that is killed while images go", (test) => {
  test(
    "leaves no half layer, and the next one goes on",
    async () => {
      const files = 300;
      const archives = [1, 2].map((layer) =>
        aTar(Array.from({ length: files }, (_, index) => file(`f${index}`, `${layer} ${index}`))),
      );
      await using registry = await aRegistryServer();
      await using first = anImageStore(registry.url);
      const { directory } = first;
      const digest = await pushApp(registry.url, anAppImage(archives));
      const rounds = 10;
      for (let round = 1; round <= rounds; round += 1) {
        await first.pull(digest);
        // The last one is not killed before it is done.
        const steps = round < rounds ? round : undefined;
        await killWhileRemoving(directory, digest, steps);
        if (steps === undefined) assert.equal(first.layers(), []);
        for (const hex of first.layers()) {
          const layer = join(directory, "layers/sha256", hex);
          assert.ok(JSON.parse(readFileSync(join(layer, "layer.json"), "utf8")).diffId);
          assert.is(readdirSync(join(layer, "fs")).length, files);
        }
      }
      await using next = anImageStore(registry.url, { directory });
      const ready = await next.pull(digest);
      assert.is(ready.layers.length, 2);
      assert.equal(next.incoming(), []);
    },
    busyMachine,
  );
});

/** Ends a program that removes the image after so many steps of two milliseconds, or when it has. */
async function killWhileRemoving(
  directory: string,
  digest: string,
  steps: number | undefined,
): Promise<void> {
  const entry = fileURLToPath(new URL("removing-entry.ts", import.meta.url));
  const child = spawn(process.execPath, [entry, directory, digest], {
    stdio: ["ignore", "pipe", "inherit"],
  });
  const ended = once(child, "exit");
  await once(child.stdout, "data");
  if (steps === undefined) await Promise.race([once(child.stdout, "data"), ended]);
  else await delay(steps * 2);
  child.kill("SIGKILL");
  await ended;
}

suite("planRemovals", (test) => {
  const record = (index: number, lastUsedAtMs: number): ImageRecord => ({
    digest: parseDigest(`sha256:${String(index).padStart(64, "0")}`),
    repository: "app",
    manifestDigest: parseDigest(`sha256:${"a".repeat(64)}`),
    diffIds: [],
    contents: [],
    lastUsedAtMs,
  });

  test("names every image once, the longest unused first, and what is too old apart", () => {
    const times = fc.array(fc.integer({ min: 0, max: 1000 }), { maxLength: 20 });
    fc.assert(
      fc.property(times, fc.integer({ min: 0, max: 1000 }), (used, keepMs) => {
        const images = used.map((at, index) => record(index, at));
        const { expired, rest } = planRemovals(images, 1000, keepMs);
        const order = [...expired, ...rest];
        assert.is(new Set(order.map(({ digest }) => digest)).size, images.length);
        assert.is(order.length, images.length);
        const ages = order.map(({ lastUsedAtMs }) => lastUsedAtMs);
        assert.equal(
          ages,
          ages.toSorted((left, right) => left - right),
        );
        const isOld = ({ lastUsedAtMs }: ImageRecord): boolean =>
          keepMs > 0 && 1000 - lastUsedAtMs > keepMs;
        assert.ok(expired.every(isOld));
        assert.not.ok(rest.some(isOld));
      }),
    );
  });

  test("takes nothing for old when the clock was set back", () => {
    assert.equal(planRemovals([record(1, 5000)], 1000, 10).expired, []);
  });
});
