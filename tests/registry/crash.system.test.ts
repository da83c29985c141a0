/** What the registry has acknowledged must outlive `kill -9` at any moment. */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { readdirSync } from "node:fs";
import { createRequire } from "node:module";
import { join } from "node:path";
import process from "node:process";
import { createInterface } from "node:readline";

import { mediaTypes } from "@strata/protocol/oci/media-type";

import { startUpload } from "../conformance/checks.ts";
import { anImage, type BuiltImage } from "../support/images.ts";
import {
  type Client,
  createClient,
  digestOf,
  randomBlob,
  withDigest,
} from "../support/registry-client.ts";
import { assert, suite } from "../support/suite.ts";
import { aTemporaryDirectory } from "../support/temporary.ts";

const main = createRequire(import.meta.url).resolve("@strata/registry/main");
const ROUNDS = 20;
const PUSHERS = 4;

type RunningRegistry = { readonly url: string; readonly child: ChildProcess };

async function start(folder: string): Promise<RunningRegistry> {
  const child = spawn(process.execPath, [main, "--data", folder, "--port", "0"], {
    stdio: ["ignore", "pipe", "inherit"],
  });
  for await (const line of createInterface({ input: child.stdout })) {
    const url = /^listening on (\S+)$/.exec(line)?.[1];
    if (url !== undefined) return { url, child };
  }
  throw new Error("the registry ended before it listened");
}

async function kill({ child }: RunningRegistry): Promise<void> {
  child.kill("SIGKILL");
  if (child.exitCode === null && child.signalCode === null) await once(child, "exit");
}

/** What was acknowledged, over all rounds. */
type Acknowledged = {
  readonly blobs: Set<string>;
  readonly manifests: Map<string, BuiltImage>;
  readonly tags: Map<string, string>;
};

/** Pushes images until the registry is gone; notes each answer. */
async function pushOn(
  client: Client,
  acknowledged: Acknowledged,
  { tag, onAnswer }: { readonly tag: string; readonly onAnswer: () => void },
): Promise<void> {
  for (;;) {
    const image = anImage({ layers: [randomBlob(150_000), randomBlob(10)] });
    for (const blob of image.blobs) {
      acknowledged.blobs.add(await client.pushBlob("a", blob));
      onAnswer();
    }
    const { manifest } = image;
    // Until the answer comes, the tag may point at either.
    acknowledged.tags.delete(tag);
    const answer = await client.putManifest(
      `/v2/a/manifests/${manifest.digest}?tag=${tag}`,
      manifest,
    );
    assert.is(answer.status, 201);
    acknowledged.manifests.set(manifest.digest, image);
    acknowledged.tags.set(tag, manifest.digest);
    onAnswer();
  }
}

async function verify(client: Client, acknowledged: Acknowledged): Promise<void> {
  for (const digest of acknowledged.blobs) {
    const answer = await client.send("GET", `/v2/a/blobs/${digest}`);
    assert.is(answer.status, 200, digest);
    assert.is(digestOf(answer.body), digest);
  }
  for (const [digest, { manifest }] of acknowledged.manifests) {
    const answer = await client.send("GET", `/v2/a/manifests/${digest}`);
    assert.is(answer.status, 200, digest);
    assert.ok(answer.body.equals(manifest.bytes));
    assert.is(answer.headers["content-type"], mediaTypes.manifest);
  }
  for (const [tag, digest] of acknowledged.tags) {
    const answer = await client.send("HEAD", `/v2/a/manifests/${tag}`);
    assert.is(answer.headers["docker-content-digest"], digest);
  }
}

suite("kill -9", (test) => {
  test(
    "in the middle of pushes loses nothing that was acknowledged, and leaves nothing else",
    async () => {
      await using folder = aTemporaryDirectory();
      const acknowledged: Acknowledged = {
        blobs: new Set(),
        manifests: new Map(),
        tags: new Map(),
      };
      for (let round = 0; round < ROUNDS; round += 1) {
        const registry = await start(folder.path);
        const client = createClient(registry.url);
        // Another answer each round, so the other pushers are caught at other points.
        let left = 3 + ((round * 7) % 23);
        const { promise: enough, resolve } = Promise.withResolvers<void>();
        const onAnswer = (): void => {
          left -= 1;
          if (left === 0) resolve();
        };
        const pushers = Array.from({ length: PUSHERS }, (_, number) =>
          pushOn(client, acknowledged, { tag: `pusher-${number}`, onAnswer }),
        );
        const ended = Promise.allSettled(pushers);
        await enough;
        await kill(registry);
        await ended;
      }
      const registry = await start(folder.path);
      try {
        const client = createClient(registry.url);
        await verify(client, acknowledged);
        assert.ok(acknowledged.manifests.size >= ROUNDS);
        await expectNoOrphans(client, folder.path);
      } finally {
        await kill(registry);
      }
    },
    { timeoutMs: 300_000 },
  );

  test(
    "in the middle of an upload leaves it to be resumed",
    async () => {
      await using folder = aTemporaryDirectory();
      const bytes = randomBlob(2_000_000);
      const before = await start(folder.path);
      const url = await startUpload(createClient(before.url), "a");
      const sent = await createClient(before.url).send("PATCH", url, {
        body: bytes.subarray(0, 1_200_000),
      });
      assert.is(sent.status, 202);
      await kill(before);
      const after = await start(folder.path);
      try {
        const client = createClient(after.url);
        assert.is((await client.send("GET", url)).headers["range"], "0-1199999");
        const rest = bytes.subarray(1_200_000);
        assert.is(
          (await client.send("PUT", withDigest(url, digestOf(bytes)), { body: rest })).status,
          201,
        );
      } finally {
        await kill(after);
      }
    },
    { timeoutMs: 120_000 },
  );
});

/** After the sweep at start, every blob file is served, and every upload file can be resumed. */
async function expectNoOrphans(client: Client, folder: string): Promise<void> {
  const root = join(folder, "blobs", "sha256");
  for (const prefix of readdirSync(root)) {
    for (const hex of readdirSync(join(root, prefix))) {
      assert.is((await client.send("HEAD", `/v2/a/blobs/sha256:${hex}`)).status, 200);
    }
  }
  for (const id of readdirSync(join(folder, "uploads"))) {
    assert.is((await client.send("GET", `/v2/a/blobs/uploads/${id}`)).status, 204);
  }
}
