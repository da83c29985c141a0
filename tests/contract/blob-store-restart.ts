/** What every blob store must do that outlives its process. */
import { randomBytes } from "node:crypto";

import { parseDigest } from "@strata/protocol/oci/digest";
import type { BlobStore } from "@strata/registry/blob-store";

import { digestOf } from "../support/registry-client.ts";
import { assert, suite } from "../support/suite.ts";
import {
  append,
  type BlobStoreFixture,
  type ContractOptions,
  put,
  readAll,
  requireBlob,
  requireUpload,
} from "./blob-store.ts";

export type RestartFixture = BlobStoreFixture & {
  /** Another store for the same place. What the one before held in memory is lost. */
  readonly reopen: () => Promise<BlobStore>;
};

export function testBlobStoreRestart(
  name: string,
  make: () => Promise<RestartFixture>,
  options: ContractOptions = {},
): void {
  suite(`blob store contract, restart: ${name}`, (define) => {
    const test = (title: string, body: () => Promise<void>): void => define(title, body, options);
    test("keeps blobs, what was deleted stays so, and quarantine too", async () => {
      await using fixture = await make();
      const kept = await put(fixture.store);
      const deleted = await put(fixture.store, randomBytes(200_000));
      const damaged = await put(fixture.store, randomBytes(300_000));
      await fixture.store.delete(deleted);
      await fixture.store.quarantine(damaged);
      const store = await fixture.reopen();
      assert.equal(await Array.fromAsync(store.listBlobs()), [kept]);
      await using blob = await requireBlob(store, kept);
      assert.is(digestOf(await readAll(blob)), kept);
    });

    test("keeps uploads with all that was appended before they were closed", async () => {
      await using fixture = await make();
      const content = randomBytes(500_000);
      let { store } = fixture;
      await store.createUpload("resumed");
      // Short and long pieces, so that their ends fall inside of what a driver keeps together, and upon it.
      const cuts = [0, 0, 1, 70_000, 300_000, 300_001, 400_000, content.length];
      for (const [index, end] of cuts.entries()) {
        const start = cuts[index - 1] ?? 0;
        {
          await using upload = await requireUpload(store, "resumed");
          assert.is(upload.sizeBytes, start);
          await append(upload, content.subarray(start, end));
        }
        store = await fixture.reopen();
      }
      {
        await using upload = await requireUpload(store, "resumed");
        assert.ok((await readAll(upload)).equals(content));
      }
      const name = parseDigest(digestOf(content));
      assert.ok(await store.commitUpload("resumed", name));
      store = await fixture.reopen();
      await using blob = await requireBlob(store, name);
      assert.ok((await readAll(blob)).equals(content));
      assert.equal(await store.listUploads(), []);
    });

    test("goes on with what came before an upload was cut off by the end of the process", async () => {
      await using fixture = await make();
      const content = randomBytes(1_000_000);
      await fixture.store.createUpload("cut-off");
      await using lost = await requireUpload(fixture.store, "cut-off");
      await append(lost, content);
      // Nothing is on its way any more; what is in memory alone will be lost.
      await lost.truncate(lost.sizeBytes);
      const store = await fixture.reopen();
      await using upload = await requireUpload(store, "cut-off");
      const { sizeBytes } = upload;
      assert.ok(sizeBytes <= content.length, `${sizeBytes} bytes`);
      assert.ok((await readAll(upload)).equals(content.subarray(0, sizeBytes)));
      await append(upload, content.subarray(sizeBytes));
      assert.ok((await readAll(upload)).equals(content));
    });
  });
}
