/** The store as people start it, with `--blobs s3://…`. */
import { execFile } from "node:child_process";
import { randomBytes } from "node:crypto";
import { createRequire } from "node:module";
import process from "node:process";

import { startUpload } from "../../conformance/checks.ts";
import { anImage } from "../../support/images.ts";
import { type Client, createClient, digestOf, withDigest } from "../../support/registry-client.ts";
import { anS3Server, s3ServerMissing } from "../../support/s3-server.ts";
import { startStore, type StoreProcess } from "../../support/store-process.ts";
import { assert, suite } from "../../support/suite.ts";
import { aTemporaryDirectory } from "../../support/temporary.ts";
import { ownerIn, placeAt } from "./place.ts";

const main = createRequire(import.meta.url).resolve("@strata/registry/main");
const MIB = 1024 * 1024;
/** Much more than the store may hold of it. */
const LONG_BYTES = 200 * MIB;
/** Above what it holds after its start: two parts of 8 MiB, what Node keeps of them, and buffers for one download. */
const GROWTH_MIB_MAX = 140;

suite("strata store --blobs", (test) => {
  if (s3ServerMissing !== undefined) {
    test.skip("keeps blobs in a bucket", s3ServerMissing);
    return;
  }
  test(
    "resumes a long push after kill -9, and holds little of it in memory",
    async () => {
      await using s3 = await anS3Server();
      setCredentials(s3.credentials);
      await using folder = aTemporaryDirectory();
      const args = [main, "--data", folder.path, "--port", "0", "--blobs", s3.newAddress()];
      const content = randomBytes(LONG_BYTES);
      const half = 105 * MIB;
      const before = await startStore(args);
      const idleMiB = before.peakMiB();
      const url = await startUpload(createClient(before.url), "a");
      const body = content.subarray(0, half);
      assert.is((await createClient(before.url).send("PATCH", url, { body })).status, 202);
      expectGrowth(before, idleMiB);
      await before.kill();
      const after = await startStore(args);
      try {
        const client = createClient(after.url);
        assert.is((await client.send("GET", url)).headers["range"], `0-${half - 1}`);
        await expectPush(client, { path: url, rest: content.subarray(half), content });
        expectGrowth(after, idleMiB);
      } finally {
        await after.kill();
      }
    },
    { timeoutMs: 400_000 },
  );

  test(
    "fsck finds what the bucket has lost and what it still has",
    async () => {
      await using s3 = await anS3Server();
      setCredentials(s3.credentials);
      await using folder = aTemporaryDirectory();
      const address = s3.newAddress();
      const options = ["--data", folder.path, "--blobs", address];
      const { manifest, blobs } = anImage({ layers: [randomBytes(200_000), randomBytes(150_000)] });
      const store = await startStore([main, ...options, "--port", "0"]);
      try {
        const client = createClient(store.url);
        for (const blob of blobs) await client.pushBlob("a", blob);
        assert.is((await client.putManifest("/v2/a/manifests/v1", manifest)).status, 201);
      } finally {
        await store.kill();
      }
      const { bucket, keys } = placeAt(address, s3.credentials);
      const clean = await fsck([...options, "--deep"]);
      assert.is(clean.status, 0, clean.output);
      assert.match(clean.output, /3 blobs known, 0 lost/);
      const [lost = "", altered = ""] = await keys("data/");
      await bucket.delete(lost);
      await bucket.put(altered, randomBytes(150_000));
      const broken = await fsck([...options, "--deep"]);
      assert.is(broken.status, 1, broken.output);
      assert.match(broken.output, /2 lost/);
      assert.is((await keys("quarantine/")).length, 2);
      const owners: string[] = [];
      for (const key of await keys("quarantine/")) owners.push(ownerIn(await bucket.getWhole(key)));
      assert.equal(
        owners.toSorted(),
        [lost, altered].map((key) => key.split("/")[1] ?? "").toSorted(),
      );
    },
    { timeoutMs: 150_000 },
  );

  test("says what is wrong with the address, before anything else", async () => {
    await using folder = aTemporaryDirectory();
    const { status, output } = await fsck(["--data", folder.path, "--blobs", "s3://k:s@bucket"]);
    assert.is(status, 2);
    assert.match(output, /holds no credentials\nhint: set AWS_ACCESS_KEY_ID/);
  });
});

function setCredentials(credentials: {
  readonly accessKeyId: string;
  readonly secretAccessKey: string;
}): void {
  // The store reads them where every tool of AWS does.
  process.env["AWS_ACCESS_KEY_ID"] = credentials.accessKeyId;
  process.env["AWS_SECRET_ACCESS_KEY"] = credentials.secretAccessKey;
}

function expectGrowth(store: StoreProcess, idleMiB: number): void {
  const growth = store.peakMiB() - idleMiB;
  console.log(`${Math.round(idleMiB)} MiB after the start, ${Math.round(growth)} more at the peak`);
  assert.ok(growth < GROWTH_MIB_MAX, `${growth} MiB`);
}

type Push = { readonly path: string; readonly rest: Buffer; readonly content: Buffer };

async function expectPush(client: Client, { path, rest, content }: Push): Promise<void> {
  const digest = digestOf(content);
  assert.is((await client.send("PUT", withDigest(path, digest), { body: rest })).status, 201);
  const pulled = await client.send("GET", `/v2/a/blobs/${digest}`);
  assert.is(pulled.status, 200);
  assert.ok(pulled.body.equals(content));
  const start = 104 * 1024 * 1024;
  const headers = { range: `bytes=${start}-${start + 2 * 1024 * 1024 - 1}` };
  const part = await client.send("GET", `/v2/a/blobs/${digest}`, { headers });
  assert.is(part.status, 206);
  assert.ok(part.body.equals(content.subarray(start, start + part.body.length)));
}

type Ended = { readonly status: number; readonly output: string };

function fsck(options: readonly string[]): Promise<Ended> {
  const { promise, resolve } = Promise.withResolvers<Ended>();
  const child = execFile(process.execPath, [main, "fsck", ...options], (_error, stdout, stderr) => {
    resolve({ status: child.exitCode ?? -1, output: stdout + stderr });
  });
  return promise;
}
