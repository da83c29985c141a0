import { randomBytes } from "node:crypto";
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";

import type { ReadyImage } from "@strata/agent/image/image-store";
import { parseDigest } from "@strata/protocol/oci/digest";

import { digestOf } from "../../support/registry-client.ts";
import { assert, suite } from "../../support/suite.ts";
import { anAppImage } from "../image/an-app-image.ts";
import { aTar, file } from "../layer/tar-builder.ts";
import { aStore } from "./a-store.ts";
import { aSwarm, type Swarm, type SwarmNode } from "./a-swarm.ts";

const content = randomBytes(3_000_000);
const archive = aTar([file("data", content.toString("latin1"))]);
const image = anAppImage([archive]);
const imageDigest = image.manifest.digest;
const layer = image.blobs[1] ?? Buffer.alloc(0);
const layerDigest = parseDigest(digestOf(layer));

suite("images from other nodes", (test) => {
  test("cost the store one layer, however many nodes pull at the same time", async () => {
    await using store = await aStore(image);
    await using swarm = await aSwarm(store.url);
    const nodes = await Promise.all(["a", "b", "c", "d", "e"].map((name) => swarm.node(name)));
    store.holdAfter(1_000_000);
    const pulls = nodes.map(({ images }) => images.pull(imageDigest));
    await until(() => swarm.answers.length >= 5);
    store.release();
    for (const ready of await Promise.all(pulls)) assertRight(ready);
    assert.equal(store.blobRequests, [0]);
    assert.is(swarm.answers.filter((answer) => answer.endsWith(": store")).length, 1);
    for (const { blobs } of nodes) assert.is(blobs.list().length, 1);
  });

  test("go on from the same byte elsewhere when a node dies", async () => {
    await using store = await aStore(image);
    await using swarm = await aSwarm(store.url);
    const [a, b] = [await swarm.node("a"), await swarm.node("b")];
    store.holdAfter(1_000_000);
    const abort = new AbortController();
    const dying = a.images.pull(imageDigest, { signal: abort.signal }).catch(() => "aborted");
    await until(() => store.blobRequests.length === 1);
    const received = receivedBytes();
    const pull = b.images.pull(imageDigest, { onProgress: received.note });
    await until(() => received.bytes() === 1_000_000);
    await a.peer.close();
    abort.abort();
    assert.is(await dying, "aborted");
    await until(() => store.blobRequests.length === 2);
    store.release();
    assertRight(await pull);
    assert.equal(store.blobRequests, [0, 1_000_000]);
  });

  test("are thrown away when a node lies, and it is not asked again", async () => {
    await using store = await aStore(image);
    await using swarm = await aSwarm(store.url);
    const liar = await swarm.node("liar");
    await liar.images.pull(imageDigest);
    await until(() => isOffered(swarm));
    spoil(liar);
    const honest = await swarm.node("honest");
    assertRight(await honest.images.pull(imageDigest));
    assert.equal(swarm.answers, ["liar: store", "honest: liar", "honest: store"]);
    assert.equal(honest.images.incoming(), []);
    const held = honest.blobs.open(layerDigest);
    assert.ok(readFileSync(held?.path ?? "").equals(layer));
  });

  test("come in the end although one who passes them on got them from a liar", async () => {
    await using store = await aStore(image);
    await using swarm = await aSwarm(store.url);
    const liar = await swarm.node("liar");
    await liar.images.pull(imageDigest);
    await until(() => isOffered(swarm));
    spoil(liar);
    const others = await Promise.all(["a", "b", "c", "d"].map((name) => swarm.node(name)));
    const ready = await Promise.all(others.map(({ images }) => images.pull(imageDigest)));
    ready.forEach(assertRight);
    for (const { images } of others) assert.equal(images.incoming(), []);
  });

  test("come from the store when the controller does not say where they are", async () => {
    await using store = await aStore(image);
    await using swarm = await aSwarm(store.url);
    const [a, b] = [await swarm.node("a"), await swarm.node("b")];
    await a.images.pull(imageDigest);
    swarm.silence();
    assertRight(await b.images.pull(imageDigest));
    assert.equal(store.blobRequests, [0, 0]);
  });

  test("come from the store to a node that keeps none", async () => {
    await using store = await aStore(image);
    await using swarm = await aSwarm(store.url);
    const [a, b] = [await swarm.node("a"), await swarm.node("b", { bytesMax: 0 })];
    await a.images.pull(imageDigest);
    assertRight(await b.images.pull(imageDigest));
    assert.equal(swarm.answers, ["a: store"]);
    assert.equal(store.blobRequests, [0, 0]);
  });

  test("come from the node's own cache when the layer was deleted", async () => {
    await using store = await aStore(image);
    await using swarm = await aSwarm(store.url);
    const node = await swarm.node("a");
    await node.images.pull(imageDigest);
    await node.images.store.remove(parseDigest(imageDigest));
    assert.equal(node.images.layers(), []);
    assertRight(await node.images.pull(imageDigest));
    assert.equal(store.blobRequests, [0]);
    // And from the store again, once it is not what it was.
    await node.images.store.remove(parseDigest(imageDigest));
    spoil(node);
    assertRight(await node.images.pull(imageDigest));
    assert.equal(store.blobRequests, [0, 0]);
  });

  test("are announced again to a controller that knows nothing", async () => {
    await using store = await aStore(image);
    await using swarm = await aSwarm(store.url);
    const [a, b] = [await swarm.node("a"), await swarm.node("b")];
    await a.images.pull(imageDigest);
    swarm.book.forget("a");
    a.peer.heard({ controllerBootId: "another" });
    await until(() => isOffered(swarm));
    assertRight(await b.images.pull(imageDigest));
    assert.equal(store.blobRequests, [0]);
  });
});

function assertRight(ready: ReadyImage): void {
  const [only] = ready.layers;
  assert.ok(readFileSync(join(only?.directory ?? "", "data")).equals(content));
}

/** Its cached blob is no longer what its name says. */
function spoil({ blobs }: SwarmNode): void {
  using held = blobs.open(layerDigest);
  const bytes = Buffer.from(layer);
  bytes.writeUInt32LE(0xdeadbeef, bytes.length >> 1);
  writeFileSync(held?.path ?? "", bytes);
}

/** Whether somebody would be sent to a node. Who asks is nobody, and is forgotten again. */
function isOffered({ book }: Swarm): boolean {
  const found = book.find({
    nodeId: "probe",
    partition: "local",
    digest: layerDigest,
    failed: [],
    nowMs: 0,
    isPresent: () => true,
  });
  book.forget("probe");
  return found.kind === "node";
}

function receivedBytes(): {
  readonly note: (progress: { readonly receivedBytes: number }) => void;
  readonly bytes: () => number;
} {
  let bytes = 0;
  return { note: (progress) => (bytes = progress.receivedBytes), bytes: () => bytes };
}

async function until(isSo: () => boolean): Promise<void> {
  while (!isSo()) await new Promise((resolve) => setTimeout(resolve, 5));
}
