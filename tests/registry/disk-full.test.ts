import { readdirSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import process from "node:process";

import { startUpload } from "../conformance/checks.ts";
import { anImage } from "../support/images.ts";
import {
  type Client,
  createClient,
  digestOf,
  errorCodes,
  randomBlob,
  withDigest,
} from "../support/registry-client.ts";
import { aRegistryServer } from "../support/registry-server.ts";
import { aSmallDisk } from "../support/small-disk.ts";
import { assert, suite } from "../support/suite.ts";

const MIB = 1024 * 1024;
const large = randomBlob(12 * MIB);
const digest = digestOf(large);

/** Writes until nothing fits any more. */
function fillUp(folder: string): void {
  for (let size = 4 * MIB; size >= 1; size = Math.floor(size / 2)) {
    for (let number = 0; ; number += 1) {
      try {
        writeFileSync(join(folder, `ballast-${size}-${number}`), Buffer.alloc(size, 1));
      } catch {
        break;
      }
    }
  }
}

async function expectNoSpace(client: Client): Promise<void> {
  const path = withDigest("/v2/a/blobs/uploads/", digest);
  const whole = await client.send("POST", path, { body: large });
  assert.equal([whole.status, ...errorCodes(whole)], [507, "INSUFFICIENT_STORAGE"]);
}

suite("a full disk", (test) => {
  if (process.getuid?.() !== 0) {
    test.skip("is answered 507 and leaves nothing", "making a small file system needs root");
    return;
  }

  test("is answered 507 by each way to push, and leaves nothing behind", async () => {
    await using disk = aSmallDisk(8 * MIB);
    await using server = await aRegistryServer({ folder: disk.path });
    const client = createClient(server.url);
    await expectNoSpace(client);
    const url = await startUpload(client, "a");
    assert.is((await client.send("PATCH", url, { body: large })).status, 507);
    assert.is((await client.send("GET", url)).status, 404, "the upload is given up");
    const closing = withDigest(await startUpload(client, "a"), digest);
    assert.is((await client.send("PUT", closing, { body: large })).status, 507);
    assert.equal(readdirSync(join(disk.path, "uploads")), []);
    await client.pushBlob("a", randomBlob(2 * MIB));
  });

  test("does not keep anyone from reading and deleting, and heals with the space", async () => {
    await using disk = aSmallDisk(8 * MIB);
    await using server = await aRegistryServer({ folder: disk.path });
    const client = createClient(server.url);
    const { manifest, blobs } = anImage();
    for (const blob of blobs) await client.pushBlob("a", blob);
    assert.is((await client.putManifest("/v2/a/manifests/x", manifest)).status, 201);
    fillUp(disk.path);
    await expectNoSpace(client);
    assert.ok((await client.send("GET", "/v2/a/manifests/x")).body.equals(manifest.bytes));
    const path = `/v2/a/blobs/${digestOf(blobs[0] ?? Buffer.alloc(0))}`;
    assert.ok((await client.send("GET", path)).body.equals(blobs[0] ?? Buffer.alloc(0)));
    assert.is((await client.send("DELETE", "/v2/a/manifests/x")).status, 202);
    for (const name of readdirSync(disk.path).filter((file) => file.startsWith("ballast-"))) {
      rmSync(join(disk.path, name));
    }
    assert.is((await client.putManifest("/v2/a/manifests/y", manifest)).status, 201);
    await client.pushBlob("a", randomBlob(MIB));
    assert.equal(readdirSync(join(disk.path, "uploads")), []);
  });
});
