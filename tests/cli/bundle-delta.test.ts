import { execFileSync } from "node:child_process";
import { randomBytes } from "node:crypto";
import { mkdirSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { gzipSync } from "node:zlib";

import { mediaTypes } from "@strata/protocol/oci/media-type";

import { anImage } from "../support/images.ts";
import { createClient, digestOf } from "../support/registry-client.ts";
import { aRegistryServer, type RegistryServer } from "../support/registry-server.ts";
import { assert, suite } from "../support/suite.ts";
import { aTemporaryDirectory } from "../support/temporary.ts";
import { archive, blobMember, indexMember, marker } from "./support/bundle-tar.ts";
import { digestIn, putImage, runAt } from "./support/store-images.ts";

const KIB = 1024;
const FILES = 150;
const CHANGED = 3;

type Packer = (file: string) => Buffer;

/** Two states of a tree of files, as archives; one file in fifty changed. */
function twoStates(folder: string, pack: Packer): { readonly old: Buffer; readonly next: Buffer } {
  const tree = join(folder, "tree");
  mkdirSync(tree);
  // What a root file system is made of: some text and some that no compression makes less.
  for (let file = 0; file < FILES; file += 1) {
    const text = Array.from(
      { length: 1500 },
      (_none, word) => ((file * word * word) % 3001) + 9000,
    );
    writeFileSync(
      join(tree, `${file}`),
      Buffer.concat([Buffer.from(text.join(" ")), randomBytes(10 * KIB)]),
    );
  }
  const old = pack(tarOf(folder, "old.tar"));
  for (let file = 0; file < CHANGED; file += 1) {
    writeFileSync(join(tree, `${file * 40}`), randomBytes(20 * KIB));
  }
  return { old, next: pack(tarOf(folder, "next.tar")) };
}

function tarOf(folder: string, name: string): string {
  const file = join(folder, name);
  execFileSync("tar", ["--sort=name", "--mtime=@0", "-cf", file, "-C", folder, "tree"]);
  return file;
}

const packers: Readonly<Record<string, { readonly pack: Packer; readonly layerType: string }>> = {
  gzip: {
    pack: (file) => execFileSync("gzip", ["-nc", file], { maxBuffer: 64 * KIB * KIB }),
    layerType: mediaTypes.layerGzip,
  },
  zlib: { pack: (file) => gzipSync(readFileSync(file)), layerType: mediaTypes.layerGzip },
  tar: { pack: (file) => readFileSync(file), layerType: mediaTypes.layer },
};

type States = {
  readonly full: string;
  readonly small: string;
  readonly digest: string;
  readonly layer: Buffer;
};

/** Bundles of both states; the second is the difference from the first. */
async function twoBundles(
  folder: string,
  server: RegistryServer,
  { pack, layerType }: { readonly pack: Packer; readonly layerType: string },
): Promise<States> {
  const { old, next } = twoStates(folder, pack);
  const [full, small] = [join(folder, "full.tar"), join(folder, "small.tar")];
  await putImage(server.url, anImage({ layers: [old], layerType }), {
    repository: "app",
    reference: "1",
  });
  await runAt(server.url, "bundle", "create", "app:1", "-o", full);
  const image = anImage({ layers: [next], layerType });
  await putImage(server.url, image, { repository: "app", reference: "2" });
  const made = await runAt(server.url, "bundle", "create", "app:2", "-o", small, "--base", full);
  assert.is(made.status, 0, made.stderr);
  assert.match(made.stdout, "1 layers as what changed in them");
  return { full, small, digest: image.manifest.digest, layer: next };
}

suite("bundle deltas", (test) => {
  for (const [name, packer] of Object.entries(packers)) {
    test(
      `carry a layer packed by ${name} in proportion to its change, to the bit`,
      async () => {
        await using folder = aTemporaryDirectory();
        await using here = await aRegistryServer();
        await using there = await aRegistryServer();
        const { full, small, digest, layer } = await twoBundles(folder.path, here, packer);
        const changed = CHANGED * 20 * KIB;
        // The archive itself, its manifest and what gzip writes differently behind each change.
        const most = changed * 1.2 + 60 * KIB;
        assert.ok(statSync(small).size < most, `${statSync(small).size} bytes for ${changed}`);
        await runAt(there.url, "bundle", "load", full);
        const { status, stderr } = await runAt(there.url, "bundle", "load", small);
        assert.is(status, 0, stderr);
        assert.is(await digestIn(there.url, "app", "2"), digest);
        const path = `/v2/app/blobs/${digestOf(layer)}`;
        assert.ok((await createClient(there.url).send("GET", path)).body.equals(layer));
      },
      { timeoutMs: 120_000 },
    );
  }

  test(
    "need what they are the difference from",
    async () => {
      await using folder = aTemporaryDirectory();
      await using here = await aRegistryServer();
      await using there = await aRegistryServer();
      const { small } = await twoBundles(folder.path, here, packers["zlib"] ?? fail());
      const { status, stderr } = await runAt(there.url, "bundle", "load", small);
      assert.is(status, 2);
      assert.match(stderr, "which the store lacks");
      assert.match(stderr, "load the bundle that it builds on first");
    },
    { timeoutMs: 120_000 },
  );

  test("that make something else are refused, and nothing is seen of their image", async () => {
    await using folder = aTemporaryDirectory();
    await using there = await aRegistryServer();
    const file = join(folder.path, "b.tar");
    const source = gzipSync("source");
    await putImage(there.url, anImage({ layers: [source] }), { repository: "app", reference: "1" });
    const image = anImage({ layers: [gzipSync("target")] });
    const [config = source, layer = source] = image.blobs;
    for (const patch of [Buffer.from("no delta"), Buffer.from("strata-delta\n\u0001\u0000")]) {
      const name = (bytes: Buffer): object => ({ digest: digestOf(bytes), size: bytes.length });
      const delta = { ...name(layer), patch: name(patch), sources: [name(source)] };
      const index = indexMember(image, "app:2");
      const contents = {
        bundleVersion: 1,
        index: digestOf(index.bytes ?? source),
        required: [],
        deltas: [delta],
        files: [],
      };
      const list = { name: "strata-bundle.json", bytes: Buffer.from(JSON.stringify(contents)) };
      const blobs = [image.manifest.bytes, config, patch].map(blobMember);
      writeFileSync(file, archive([marker, index, list, ...blobs]));
      const { status, stderr } = await runAt(there.url, "bundle", "load", file);
      assert.is(status, 2);
      assert.match(stderr, /the delta of sha256:\w+ cannot be used/);
      assert.is(await digestIn(there.url, "app", "2"), undefined);
    }
  });
});

function fail(): never {
  throw new Error("no such packer");
}
