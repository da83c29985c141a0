/** What every blob store must do. A driver's test calls it with a way to make an empty store. */
import { randomBytes } from "node:crypto";

import type { Digest } from "@strata/protocol/oci/digest";
import { parseDigest } from "@strata/protocol/oci/digest";
import type { BlobStore, OpenBlob, OpenUpload } from "@strata/registry/blob-store";

import { digestOf } from "../support/registry-client.ts";
import { assert, rejectsWithCode, suite } from "../support/suite.ts";

export type BlobStoreFixture = AsyncDisposable & { readonly store: BlobStore };

/** How one test may take. */
export type ContractOptions = { readonly timeoutMs?: number };

export function testBlobStore(
  name: string,
  make: () => Promise<BlobStoreFixture>,
  options: ContractOptions = {},
): void {
  suite(`blob store contract: ${name}`, (test) => {
    for (const { title, body } of cases) {
      const run = async (): Promise<void> => {
        await using fixture = await make();
        await body(fixture.store);
      };
      test(title, run, options);
    }
  });
}

type Case = { readonly title: string; readonly body: (store: BlobStore) => Promise<void> };

const bytes = randomBytes(100_000);
const digest = parseDigest(digestOf(bytes));

/** Longer than what any driver of these tests keeps together. */
const long = randomBytes(1_212_345);

export async function put(store: BlobStore, content = bytes): Promise<Digest> {
  await store.createUpload("put");
  {
    await using upload = await requireUpload(store, "put");
    await upload.append([content]);
  }
  const name = parseDigest(digestOf(content));
  assert.ok(await store.commitUpload("put", name));
  return name;
}

export async function requireUpload(store: BlobStore, id: string): Promise<OpenUpload> {
  const upload = await store.openUpload(id);
  if (upload === undefined) throw new Error(`no upload ${id}`);
  return upload;
}

/** In pieces, as a registry hands them on. */
export async function append(upload: OpenUpload, content: Buffer): Promise<void> {
  const pieceBytes = 50_000;
  for (let start = 0; start < content.length; start += pieceBytes) {
    await upload.append([content.subarray(start, start + pieceBytes)]);
  }
}

export async function readAll(blob: OpenBlob): Promise<Buffer> {
  const target = Buffer.alloc(blob.sizeBytes);
  assert.is(await blob.read(target, 0), target.length);
  return target;
}

export async function requireBlob(store: BlobStore, name: Digest): Promise<OpenBlob> {
  const blob = await store.open(name);
  if (blob === undefined) throw new Error(`no blob ${name}`);
  return blob;
}

const cases: readonly Case[] = [
  {
    title: "gives undefined for a blob and an upload that are not there",
    body: async (store) => {
      assert.is(await store.open(digest), undefined);
      assert.is(await store.openUpload("none"), undefined);
      assert.is(await store.commitUpload("none", digest), false);
    },
  },
  {
    title: "turns an upload into a blob of the same bytes, and the upload is gone",
    body: async (store) => {
      await put(store);
      await using blob = await requireBlob(store, digest);
      assert.is(blob.sizeBytes, bytes.length);
      assert.ok((await readAll(blob)).equals(bytes));
      assert.is(await store.openUpload("put"), undefined);
      assert.equal(await store.listUploads(), []);
    },
  },
  {
    title: "reads any part, less at the end and nothing behind it",
    body: async (store) => {
      await put(store);
      await using blob = await requireBlob(store, digest);
      const target = Buffer.alloc(10);
      assert.is(await blob.read(target, 500), 10);
      assert.ok(target.equals(bytes.subarray(500, 510)));
      assert.is(await blob.read(target, bytes.length - 4), 4);
      assert.ok(target.subarray(0, 4).equals(bytes.subarray(-4)));
      assert.is(await blob.read(target, bytes.length), 0);
    },
  },
  {
    title: "appends across openings, in pieces, and knows the size",
    body: async (store) => {
      await store.createUpload("pieces");
      for (let start = 0; start < bytes.length; start += 30_000) {
        await using upload = await requireUpload(store, "pieces");
        assert.is(upload.sizeBytes, start);
        const piece = bytes.subarray(start, start + 30_000);
        await upload.append([piece.subarray(0, 7), piece.subarray(7, 7), piece.subarray(7)]);
        assert.is(upload.sizeBytes, start + piece.length);
      }
      await using upload = await requireUpload(store, "pieces");
      assert.ok((await readAll(upload)).equals(bytes));
    },
  },
  {
    title: "keeps what was appended when the caller uses its buffer again",
    body: async (store) => {
      await store.createUpload("reused");
      await using upload = await requireUpload(store, "reused");
      const buffer = Buffer.from("first");
      await upload.append([buffer]);
      buffer.write("other");
      await upload.append([buffer]);
      assert.is((await readAll(upload)).toString(), "firstother");
    },
  },
  {
    title: "truncates an upload, and appends after the cut",
    body: async (store) => {
      await store.createUpload("cut");
      await using upload = await requireUpload(store, "cut");
      await upload.append([Buffer.from("abcdef")]);
      await upload.truncate(2);
      assert.is(upload.sizeBytes, 2);
      await upload.append([Buffer.from("X")]);
      assert.is((await readAll(upload)).toString(), "abX");
    },
  },
  {
    title: "refuses to make an upload twice",
    body: async (store) => {
      await store.createUpload("twice");
      await rejectsWithCode(store.createUpload("twice"), "EEXIST");
    },
  },
  {
    title: "deletes uploads and blobs, and does not mind when they are gone",
    body: async (store) => {
      await store.createUpload("gone");
      await store.deleteUpload("gone");
      await store.deleteUpload("gone");
      assert.is(await store.openUpload("gone"), undefined);
      await put(store);
      await store.delete(digest);
      await store.delete(digest);
      assert.is(await store.open(digest), undefined);
    },
  },
  {
    title: "lets those read on who have a blob open while it is deleted or replaced",
    body: async (store) => {
      await put(store);
      await using blob = await requireBlob(store, digest);
      await put(store);
      await store.delete(digest);
      assert.ok((await readAll(blob)).equals(bytes));
    },
  },
  {
    title: "takes a blob out of the way by quarantine, and takes it anew",
    body: async (store) => {
      await put(store);
      await store.quarantine(digest);
      await store.quarantine(digest);
      assert.is(await store.open(digest), undefined);
      await put(store);
      await using blob = await requireBlob(store, digest);
      assert.is(blob.sizeBytes, bytes.length);
    },
  },
  {
    title: "lists every blob and upload once, of both algorithms, also the empty blob",
    body: async (store) => {
      const names = [await put(store), await put(store, Buffer.alloc(0))];
      await store.createUpload("sha512");
      const long = parseDigest(digestOf(Buffer.alloc(0), "sha512"));
      assert.ok(await store.commitUpload("sha512", long));
      await store.createUpload("open");
      const listed = await Array.fromAsync(store.listBlobs());
      assert.equal(listed.toSorted(), [...names, long].toSorted());
      assert.equal(await store.listUploads(), ["open"]);
    },
  },
  {
    title: "holds a long blob, and reads it from anywhere to anywhere",
    body: async (store) => {
      await store.createUpload("long");
      {
        await using upload = await requireUpload(store, "long");
        await append(upload, long);
        assert.is(upload.sizeBytes, long.length);
        // As a registry does: while the upload is still open.
        assert.ok(await store.commitUpload("long", parseDigest(digestOf(long, "sha512"))));
      }
      await using blob = await requireBlob(store, parseDigest(digestOf(long, "sha512")));
      assert.is(blob.sizeBytes, long.length);
      const target = Buffer.alloc(100_000);
      for (let start = 0; start < long.length; start += target.length) {
        const expected = long.subarray(start, start + target.length);
        assert.is(await blob.read(target, start), expected.length);
        assert.ok(target.subarray(0, expected.length).equals(expected), `differs at ${start}`);
      }
      const parts = [299_000, 100, 1_150_000, 600_000];
      const read = await Promise.all(
        parts.map(async (start) => {
          const piece = Buffer.alloc(60_000);
          await blob.read(piece, start);
          return piece;
        }),
      );
      for (const [index, start] of parts.entries()) {
        assert.ok(read[index]?.equals(long.subarray(start, start + 60_000)), `at ${start}`);
      }
    },
  },
  {
    title: "reads and cuts a long upload, and goes on behind the cut",
    body: async (store) => {
      await store.createUpload("cut");
      await using upload = await requireUpload(store, "cut");
      await append(upload, long.subarray(0, 900_000));
      const target = Buffer.alloc(1_000);
      assert.is(await upload.read(target, 899_500), 500);
      assert.ok(target.subarray(0, 500).equals(long.subarray(899_500, 900_000)));
      await append(upload, long.subarray(900_000));
      await upload.truncate(300_000);
      assert.is(upload.sizeBytes, 300_000);
      await append(upload, long.subarray(300_000));
      assert.ok((await readAll(upload)).equals(long));
      await upload.truncate(long.length - 1);
      await upload.append([long.subarray(-1)]);
      await upload.truncate(0);
      await append(upload, long);
      assert.ok(await store.commitUpload("cut", parseDigest(digestOf(long))));
      await using blob = await requireBlob(store, parseDigest(digestOf(long)));
      assert.ok((await readAll(blob)).equals(long));
    },
  },
  {
    title: "shows an upload's bytes to whoever opens it beside its writer",
    body: async (store) => {
      await store.createUpload("shared");
      await using writer = await requireUpload(store, "shared");
      await writer.append([bytes]);
      await using other = await requireUpload(store, "shared");
      assert.is(other.sizeBytes, bytes.length);
    },
  },
  {
    title: "does not bring back an upload that was deleted while it was open",
    body: async (store) => {
      await store.createUpload("deleted");
      {
        await using upload = await requireUpload(store, "deleted");
        await append(upload, long);
        await store.deleteUpload("deleted");
      }
      assert.is(await store.openUpload("deleted"), undefined);
      assert.equal(await store.listUploads(), []);
      assert.is(await store.commitUpload("deleted", digest), false);
    },
  },
];
