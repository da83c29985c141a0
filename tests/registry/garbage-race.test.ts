/** Garbage collection with no grace to speak of, beside clients that push, mount, pull and delete: what was
 * acknowledged is whole, at every moment and in every order. */
import { type Digest, parseDigest } from "@strata/protocol/oci/digest";
import type { BlobStore } from "@strata/registry/blob-store";
import { createBufferPool } from "@strata/registry/buffer-pool";
import { createGarbageCollector } from "@strata/registry/collect-garbage";
import { createMemoryBlobStore } from "@strata/registry/drivers/memory-blob-store";
import { createSqliteMetadataStore } from "@strata/registry/drivers/sqlite-metadata-store";
import type { MetadataStore } from "@strata/registry/metadata-store";
import { createStoredBlobs, type StoredBlobs } from "@strata/registry/stored-blobs";
import fc from "fast-check";

import { anImage, type BuiltImage } from "../support/images.ts";
import { type Client, createClient, digestOf, randomBlob } from "../support/registry-client.ts";
import { aRegistryServer } from "../support/registry-server.ts";
import { assert, suite } from "../support/suite.ts";
import { aTemporaryDirectory } from "../support/temporary.ts";

const silent = { warn: () => undefined, error: () => undefined };
const bodies = [0, 1, 2].map((number) => Buffer.from(`layer ${number}`));

type Store = {
  readonly blobs: BlobStore;
  readonly metadata: MetadataStore;
  readonly storedBlobs: StoredBlobs;
  /** Whether the collector leaves alone what was pushed or mounted just now. */
  readonly hasGrace: boolean;
  readonly collect: () => Promise<unknown>;
};

/** The real parts; the scheduler decides whose step is next. */
function aStore(
  scheduler: fc.Scheduler,
  hasGrace: boolean,
): Store & { readonly metadataNow: MetadataStore } {
  const metadataNow = createSqliteMetadataStore(":memory:");
  const blobs = scheduled(scheduler, createMemoryBlobStore(), ["commitUpload", "delete", "open"]);
  const metadata = scheduled(scheduler, metadataNow, [
    "putBlob",
    "mountBlob",
    "putManifest",
    "removeManifest",
    "hasBlob",
    "collect",
    "listRepositories",
  ]);
  const storedBlobs = createStoredBlobs({
    blobs,
    metadata,
    buffers: createBufferPool(),
    onCorrupt: () => undefined,
    logger: silent,
  });
  const collect = createGarbageCollector({
    metadata,
    storedBlobs,
    uses: { flush: () => Promise.resolve(), isUsedSince: () => false },
    clock: () => 2,
    onTagMoved: () => undefined,
  });
  const graceMs = hasGrace ? 10 : 0;
  return {
    blobs,
    metadata,
    metadataNow,
    storedBlobs,
    hasGrace,
    collect: () => collect({ graceMs }),
  };
}

function scheduled<Part extends object>(
  scheduler: fc.Scheduler,
  part: Part,
  names: readonly (keyof Part)[],
): Part {
  const wrapped = { ...part };
  for (const name of names) {
    const method = part[name];
    if (typeof method !== "function") throw new TypeError("not a method");
    Object.assign(wrapped, {
      [name]: (...values: unknown[]) =>
        scheduler
          .schedule(Promise.resolve(), String(name))
          .then(() => Reflect.apply(method, part, values)),
    });
  }
  return wrapped;
}

type Operation = readonly ["push" | "mount" | "delete" | "collect", number];
let uploads = 0;

async function run(store: Store, [kind, number]: Operation): Promise<void> {
  const bytes = bodies[number % bodies.length] ?? Buffer.alloc(0);
  const digest = parseDigest(digestOf(bytes));
  const repository = `r${number % 2}`;
  switch (kind) {
    case "push":
      await putBlob(store, { repository, digest, bytes });
      return putManifest(store, { repository, digest, bytes });
    case "mount": {
      const to = `r${(number + 1) % 2}`;
      const mounted = await store.metadata.mountBlob({
        from: repository,
        repository: to,
        digest,
        at: 1,
      });
      return mounted ? putManifest(store, { repository: to, digest, bytes }) : undefined;
    }
    case "delete":
      await store.metadata.removeManifest(repository, manifestOf(digest));
      return;
    case "collect":
      await store.collect();
  }
}

type Target = { readonly repository: string; readonly digest: Digest; readonly bytes: Buffer };

async function putBlob(store: Store, { repository, digest, bytes }: Target): Promise<void> {
  const id = `u${(uploads += 1)}`;
  await store.blobs.createUpload(id);
  const upload = await store.blobs.openUpload(id);
  await upload?.append([bytes]);
  const at = 1;
  const blob = { repository, digest, sizeBytes: bytes.length, uploadId: undefined, at };
  assert.ok(await store.storedBlobs.commit(id, blob));
}

/** May be refused when the collector was quicker, unless there is a grace. */
async function putManifest(store: Store, { repository, digest, bytes }: Target): Promise<void> {
  const body = Buffer.from(digest);
  const { kind } = await store.metadata.putManifest({
    repository,
    digest: manifestOf(digest),
    mediaType: "application/json",
    sizeBytes: body.length,
    body,
    references: [{ digest, sizeBytes: bytes.length, kind: "blob", required: true }],
    subject: undefined,
    artifactType: undefined,
    referrer: undefined,
    tags: [`t${digest.slice(-4)}`],
    at: 1,
  });
  assert.ok(kind === "stored" || !store.hasGrace, "refused within the grace");
}

function manifestOf(digest: Digest): Digest {
  return parseDigest(digestOf(Buffer.from(digest)));
}

suite("garbage collection beside clients", (test) => {
  test(
    "in no order of steps leaves a manifest without its blob, or refuses one within the grace",
    async () => {
      const operations = fc.array(
        fc.tuple(
          fc.constantFrom(
            "push" as const,
            "push" as const,
            "mount" as const,
            "delete" as const,
            "collect" as const,
          ),
          fc.nat(5),
        ),
        { minLength: 2, maxLength: 8 },
      );
      await fc.assert(
        fc.asyncProperty(
          fc.scheduler(),
          operations,
          fc.boolean(),
          async (scheduler, list, grace) => {
            const store = aStore(scheduler, grace);
            const ended = Promise.all(list.map((operation) => run(store, operation)));
            await scheduler.waitFor(ended);
            await expectSound(store);
            store.metadata.close();
          },
        ),
        { numRuns: 600 },
      );
    },
    { timeoutMs: 120_000 },
  );

  test(
    "breaks no acknowledged image and fails no client, in thousands of operations",
    async () => {
      await using folder = aTemporaryDirectory();
      await using server = await aRegistryServer({ folder: folder.path });
      const client = createClient(server.url);
      const tally = { operations: 0, freed: 0 };
      const workers = Array.from({ length: 6 }, (_, worker) => churn(client, { worker, tally }));
      const tick = { working: true };
      const clients = Promise.all(workers).finally(() => (tick.working = false));
      let collections = 0;
      while (tick.working) {
        // Shorter than a push takes when the machine is busy would rightly fail it; see `graceMs`.
        const { blobs } = await server.registry.collectGarbage({ graceMs: 2_000 });
        tally.freed += blobs;
        collections += 1;
        await new Promise((resolve) => setImmediate(resolve));
      }
      await clients;
      assert.ok(tally.operations >= 3_000, `${tally.operations} operations`);
      assert.ok(collections > 10, `${collections} collections`);
      const last = await server.registry.collectGarbage({ graceMs: -1 });
      assert.ok(tally.freed + last.blobs > 100, "there was garbage");
      assert.equal(server.faults, []);
    },
    { timeoutMs: 180_000 },
  );
});

async function expectSound({
  blobs,
  metadataNow: metadata,
}: ReturnType<typeof aStore>): Promise<void> {
  for (const bytes of bodies) {
    const digest = parseDigest(digestOf(bytes));
    for (const repository of ["r0", "r1"]) {
      const manifest = await metadata.findManifest(repository, manifestOf(digest));
      const sizeBytes = await metadata.findBlob(repository, digest);
      if (manifest !== undefined) assert.is(sizeBytes, bytes.length, "manifest without its blob");
    }
    const listed = await Array.fromAsync(blobs.listBlobs());
    assert.is(listed.includes(digest), await metadata.hasBlob(digest), "row and bytes differ");
  }
}

type Churn = { readonly worker: number; readonly tally: { operations: number } };

/** Pushes, pulls and deletes images that share a layer with those of the other workers. */
async function churn(client: Client, { worker, tally }: Churn): Promise<void> {
  const shared = Buffer.from("a layer that all images have");
  const repository = `r${worker % 3}`;
  const send = async (method: string, path: string, expected: readonly number[]): Promise<void> => {
    const { status, body } = await client.send(method, `/v2/${path}`);
    tally.operations += 1;
    if (!expected.includes(status)) throw new Error(`${method} ${path}: ${status} ${String(body)}`);
  };
  for (let round = 0; round < 40; round += 1) {
    const image = anImage({ layers: [randomBlob(2_000), shared] });
    const tag = `w${worker}-${round % 2}`;
    for (const blob of image.blobs) {
      await pushUnlessThere(client, repository, blob);
      tally.operations += 2;
    }
    const { status } = await client.putManifest(
      `/v2/${repository}/manifests/${tag}`,
      image.manifest,
    );
    tally.operations += 1;
    assert.is(status, 201);
    await expectWhole(client, { repository, tag, image });
    tally.operations += 1 + image.blobs.length;
    if (round % 3 === 0) await send("DELETE", `${repository}/manifests/${tag}`, [202]);
    if (round % 5 === 0) {
      const target = `r${(worker + 1) % 3}`;
      await send("POST", `${target}/blobs/uploads/?mount=${digestOf(shared)}`, [201, 202]);
    }
    // What the other tag says must still be whole.
    await expectWhole(client, { repository, tag: `w${worker}-${(round + 1) % 2}` });
    tally.operations += 4;
  }
}

async function pushUnlessThere(client: Client, repository: string, blob: Buffer): Promise<void> {
  const head = await client.send("HEAD", `/v2/${repository}/blobs/${digestOf(blob)}`);
  if (head.status !== 200) await client.pushBlob(repository, blob);
}

type Whole = { readonly repository: string; readonly tag: string; readonly image?: BuiltImage };

async function expectWhole(client: Client, { repository, tag, image }: Whole): Promise<void> {
  const manifest = await client.send("GET", `/v2/${repository}/manifests/${tag}`);
  if (image === undefined && manifest.status === 404) return;
  assert.is(manifest.status, 200);
  if (image !== undefined) assert.ok(manifest.body.equals(image.manifest.bytes));
  for (const digest of new Set(manifest.body.toString().match(/sha256:[0-9a-f]{64}/g))) {
    const blob = await client.send("GET", `/v2/${repository}/blobs/${digest}`);
    assert.is(blob.status, 200, `${tag} lost ${digest}`);
    assert.is(digestOf(blob.body), digest);
  }
}
