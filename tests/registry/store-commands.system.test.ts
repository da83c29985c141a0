/** `gc`, `scrub` and `fsck` of the store on its own, while it runs and while it is stopped. */
import { readFileSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";

import { anImage, type BuiltImage } from "../support/images.ts";
import { pushTo } from "../support/mirror-scene.ts";
import { createClient, digestOf, randomBlob } from "../support/registry-client.ts";
import { aStandAloneStore, type Ended, runStore } from "../support/stand-alone-store.ts";
import { assert, suite } from "../support/suite.ts";
import { aTemporaryDirectory } from "../support/temporary.ts";

const slow = { timeoutMs: 240_000 };

/** Pushes a tagged image, and one whose manifest is gone again. */
async function fill(
  url: string,
): Promise<{ readonly kept: BuiltImage; readonly gone: BuiltImage }> {
  const client = createClient(url);
  const [kept, gone] = [anImage(), anImage({ layers: [randomBlob(100_000)] })];
  await pushTo(client, ["app", "v1"], kept);
  await pushTo(client, ["app"], gone);
  return { kept, gone };
}

function command(folder: string, ...args: readonly string[]): Promise<Ended> {
  const [name = "", ...options] = args;
  return runStore([name, "--data", folder, ...options]);
}

function blobFile(folder: string, blob: Buffer): string {
  const hex = digestOf(blob).slice("sha256:".length);
  return join(folder, "blobs", "sha256", hex.slice(0, 2), hex);
}

function alter(path: string): void {
  const bytes = readFileSync(path);
  bytes[0] = (bytes[0] ?? 0) ^ 1;
  writeFileSync(path, bytes);
}

async function hasBlob(url: string, blob: Buffer): Promise<boolean> {
  const { status } = await createClient(url).send("HEAD", `/v2/app/blobs/${digestOf(blob)}`);
  return status === 200;
}

function parseJson(text: string): Readonly<Record<string, unknown>> {
  // Held against what is expected, field by field.
  return JSON.parse(text) as Readonly<Record<string, unknown>>;
}

suite("commands of the store", (test) => {
  test(
    "gc says what would go, then takes it, from a store that runs and one that is stopped",
    async () => {
      await using folder = aTemporaryDirectory();
      const { path } = folder;
      const server = await aStandAloneStore(path);
      const { gone } = await fill(server.url);
      const layer = gone.blobs[1] ?? Buffer.alloc(0);
      assert.is(statSync(join(path, "control.sock")).mode & 0o777, 0o600);
      const young = await command(path, "gc");
      assert.match(young.stdout, /gone: 0 tags, 0 manifests, 0 blobs/);
      const planned = await command(path, "gc", "--grace", "0s", "--dry-run");
      assert.is(planned.status, 0, planned.stderr);
      assert.match(planned.stdout, /would go: 0 tags, 1 manifests, 2 blobs/);
      assert.match(planned.stdout, gone.manifest.digest);
      assert.ok(await hasBlob(server.url, layer));
      // Looking for it just now is a use, so only a run without any grace takes it.
      const running = await command(path, "gc", "--grace", "0s", "--json");
      assert.is(running.status, 0, running.stderr);
      const report = parseJson(running.stdout);
      assert.equal(
        [report["dryRun"], report["manifests"], report["blobs"], report["aborted"]],
        [false, 1, 2, false],
      );
      assert.not(await hasBlob(server.url, layer));
      await pushTo(createClient(server.url), ["app"], gone);
      assert.is(await server.stop(), 0);
      const stopped = await command(path, "gc", "--grace", "0s");
      assert.match(stopped.stdout, /gone: 0 tags, 1 manifests, 2 blobs/);
      const again = await command(path, "gc", "--grace", "0s");
      assert.match(again.stdout, /gone: 0 tags, 0 manifests, 0 blobs/);
    },
    slow,
  );

  test(
    "gc obeys the retention policies of the settings",
    async () => {
      await using folder = aTemporaryDirectory();
      const path = join(folder.path, "store");
      const config = join(folder.path, "store.yaml");
      const policy = "{ repositories: [app], keepTags: [keep*] }";
      writeFileSync(config, `garbage: { grace: 0s, retention: [${policy}] }\n`);
      await using server = await aStandAloneStore(path, ["--config", config]);
      const client = createClient(server.url);
      await pushTo(client, ["app", "keep-1", "drop-1"], anImage());
      await pushTo(client, ["app", "drop-2"], anImage());
      const { stdout } = await command(path, "gc");
      assert.match(stdout, /gone: 2 tags, 1 manifests, 3 blobs/);
      const tags = await client.send("GET", "/v2/app/tags/list");
      assert.match(tags.body.toString(), `"tags":["keep-1"]`);
    },
    slow,
  );

  test(
    "scrub finds what was altered; without --dry-run it takes it out of service",
    async () => {
      await using folder = aTemporaryDirectory();
      const { path } = folder;
      const server = await aStandAloneStore(path);
      const { kept } = await fill(server.url);
      const layer = kept.blobs[1] ?? Buffer.alloc(0);
      assert.is((await command(path, "scrub")).status, 0);
      alter(blobFile(path, layer));
      for (const run of ["while it runs", "while it is stopped"]) {
        const planned = await command(path, "scrub", "--dry-run");
        assert.is(planned.status, 1, run);
        assert.match(planned.stdout, `corrupt ${digestOf(layer)}`);
        if (run === "while it runs") await server.stop();
      }
      const done = await command(path, "scrub", "--json", "--rate", "1Gi");
      assert.is(done.status, 1);
      const report = parseJson(done.stdout);
      const digest = digestOf(layer);
      assert.equal(
        [report["dryRun"], report["corrupt"], report["lost"], report["complete"]],
        [false, [digest], [digest], true],
      );
      await using again = await aStandAloneStore(path);
      assert.not(await hasBlob(again.url, layer));
      await pushTo(createClient(again.url), ["app", "v1"], kept);
      assert.is((await command(path, "scrub")).status, 0);
    },
    slow,
  );

  test(
    "fsck without doing anything says what it would do",
    async () => {
      await using folder = aTemporaryDirectory();
      const { path } = folder;
      const server = await aStandAloneStore(path);
      const { kept } = await fill(server.url);
      await server.stop();
      const layer = kept.blobs[1] ?? Buffer.alloc(0);
      alter(blobFile(path, layer));
      for (let run = 0; run < 2; run += 1) {
        const { status, stdout } = await command(path, "fsck", "--deep", "--dry-run", "--json");
        assert.is(status, 1);
        assert.equal(parseJson(stdout)["lost"], [digestOf(layer)]);
      }
      assert.is((await command(path, "fsck", "--deep")).status, 1);
      const after = await command(path, "fsck", "--deep");
      assert.is(after.status, 0, after.stdout);
      writeFileSync(join(path, "store.db"), "no database ".repeat(1_000));
      const damaged = await command(path, "fsck", "--dry-run");
      assert.is(damaged.status, 1);
      assert.match(damaged.stdout, /lost or damaged/);
      assert.match(readFileSync(join(path, "store.db"), "utf8"), /^no database/);
    },
    slow,
  );

  test(
    "a socket that a crash left is no running store, and wrong use is told",
    async () => {
      await using folder = aTemporaryDirectory();
      const { path } = folder;
      {
        await using server = await aStandAloneStore(path);
        await fill(server.url);
      }
      const { status, stdout } = await command(path, "gc");
      assert.is(status, 0, stdout);
      await using server = await aStandAloneStore(path);
      assert.is((await command(path, "gc", "--dry-run")).status, 0);
      for (const wrong of [
        ["gc", "--grace", "soon"],
        ["gc", "--deep"],
        ["scrub", "--rate", "0"],
        ["scrub", "more"],
        ["collect"],
      ]) {
        const { status: refused, stderr } = await command(path, ...wrong);
        assert.is(refused, 2, wrong.join(" "));
        assert.match(stderr, /^error: .+\nhint: .+\n$/);
      }
      const absent = await command(join(path, "absent"), "gc");
      assert.is(absent.status, 2);
      assert.ok(server.url.startsWith("http://127.0.0.1:"));
    },
    slow,
  );
});
