/** A store whose database is lost or damaged comes back by one command, with its tags. */
import { type ChildProcess, execFile, spawn } from "node:child_process";
import { once } from "node:events";
import { rmSync, truncateSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { join } from "node:path";
import process from "node:process";
import { createInterface } from "node:readline";

import { anImage, type BuiltImage } from "../support/images.ts";
import { createClient, digestOf } from "../support/registry-client.ts";
import { assert, suite } from "../support/suite.ts";
import { aTemporaryDirectory } from "../support/temporary.ts";

const main = createRequire(import.meta.url).resolve("@strata/registry/main");

type Running = AsyncDisposable & { readonly url: string };

async function serve(folder: string): Promise<Running> {
  const child = spawn(process.execPath, [main, "--data", folder, "--port", "0"], {
    stdio: ["ignore", "pipe", "inherit"],
  });
  for await (const line of createInterface({ input: child.stdout })) {
    const url = /^listening on (\S+)$/.exec(line)?.[1];
    if (url !== undefined) return { url, [Symbol.asyncDispose]: () => kill(child) };
  }
  throw new Error("the registry ended before it listened");
}

async function kill(child: ChildProcess): Promise<void> {
  child.kill("SIGKILL");
  if (child.exitCode === null && child.signalCode === null) await once(child, "exit");
}

type Ended = { readonly status: number; readonly output: string };

function fsck(folder: string, ...options: readonly string[]): Promise<Ended> {
  const { promise, resolve } = Promise.withResolvers<Ended>();
  const child = execFile(
    process.execPath,
    [main, "fsck", "--data", folder, ...options],
    (_error, stdout, stderr) => {
      resolve({ status: child.exitCode ?? -1, output: stdout + stderr });
    },
  );
  return promise;
}

async function push(folder: string, image: BuiltImage): Promise<void> {
  await using registry = await serve(folder);
  const client = createClient(registry.url);
  for (const blob of image.blobs) await client.pushBlob("a/b", blob);
  assert.is((await client.putManifest("/v2/a/b/manifests/v1", image.manifest)).status, 201);
}

async function expectWhole(folder: string, image: BuiltImage): Promise<void> {
  await using registry = await serve(folder);
  const client = createClient(registry.url);
  const manifest = await client.send("GET", "/v2/a/b/manifests/v1");
  assert.ok(manifest.body.equals(image.manifest.bytes));
  for (const blob of image.blobs) {
    const { body } = await client.send("GET", `/v2/a/b/blobs/${digestOf(blob)}`);
    assert.ok(body.equals(blob));
  }
}

function loseDatabase(folder: string): void {
  for (const ending of ["", "-wal", "-shm"]) {
    rmSync(join(folder, `store.db${ending}`), { force: true });
  }
}

suite("fsck", (test) => {
  test(
    "brings a store back whose database is gone; so does a mere start",
    async () => {
      await using folder = aTemporaryDirectory();
      const image = anImage();
      await push(folder.path, image);
      loseDatabase(folder.path);
      const { status, output } = await fsck(folder.path, "--deep");
      assert.is(status, 0, output);
      assert.match(output, /3 blobs known, 0 lost, 0 restored, 0 unnamed/);
      await expectWhole(folder.path, image);
      loseDatabase(folder.path);
      await expectWhole(folder.path, image);
    },
    { timeoutMs: 120_000 },
  );

  test(
    "makes a damaged database anew, which a start refuses to use",
    async () => {
      await using folder = aTemporaryDirectory();
      const image = anImage();
      await push(folder.path, image);
      loseDatabase(folder.path);
      writeFileSync(join(folder.path, "store.db"), "this was a database once, ".repeat(500));
      const started = serve(folder.path).then(
        () => "started",
        () => "refused",
      );
      assert.is(await started, "refused");
      const { status, output } = await fsck(folder.path);
      assert.is(status, 0, output);
      assert.match(output, /damaged database kept as .*store\.db\.damaged/);
      await expectWhole(folder.path, image);
    },
    { timeoutMs: 120_000 },
  );

  test(
    "names the blobs that are lost, and the next push of them heals",
    async () => {
      await using folder = aTemporaryDirectory();
      const image = anImage();
      await push(folder.path, image);
      const digest = digestOf(image.blobs[1] ?? Buffer.alloc(0));
      const hex = digest.slice("sha256:".length);
      truncateSync(join(folder.path, "blobs", "sha256", hex.slice(0, 2), hex), 3);
      const { status, output } = await fsck(folder.path);
      assert.is(status, 1);
      assert.match(output, `lost ${digest}`);
      await push(folder.path, image);
      await expectWhole(folder.path, image);
      assert.is((await fsck(folder.path)).status, 0);
    },
    { timeoutMs: 120_000 },
  );

  test(
    "refuses while the store runs, and a command that it does not know",
    async () => {
      await using folder = aTemporaryDirectory();
      await using _running = await serve(folder.path);
      const { status, output } = await fsck(folder.path);
      assert.is(status, 5);
      assert.match(output, /in use by another process|database is locked/);
      assert.is((await fsck(folder.path, "now")).status, 2);
    },
    { timeoutMs: 120_000 },
  );

  test(
    "a start never sweeps away all blobs because the metadata is empty",
    async () => {
      await using folder = aTemporaryDirectory();
      const image = anImage();
      await push(folder.path, image);
      loseDatabase(folder.path);
      rmSync(join(folder.path, "journal.ndjson"));
      {
        await using registry = await serve(folder.path);
        assert.is((await createClient(registry.url).send("GET", "/v2/")).status, 200);
      }
      const { output } = await fsck(folder.path);
      assert.match(output, /0 blobs known, 0 lost, 0 restored, 3 unnamed/);
    },
    { timeoutMs: 120_000 },
  );
});
