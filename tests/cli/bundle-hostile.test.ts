import { writeFileSync } from "node:fs";
import { join } from "node:path";

import { mediaTypes } from "@strata/protocol/oci/media-type";

import { anImage, buildManifest, describeManifest } from "../support/images.ts";
import { digestOf } from "../support/registry-client.ts";
import { aRegistryServer } from "../support/registry-server.ts";
import { assert, suite } from "../support/suite.ts";
import { aTemporaryDirectory } from "../support/temporary.ts";
import {
  archive,
  blobMember,
  header,
  indexMember,
  layoutOf,
  marker,
  type Member,
  members,
  paxRecord,
  withChecksum,
} from "./support/bundle-tar.ts";
import type { CliResult } from "./support/run-cli.ts";
import { digestIn, runAt } from "./support/store-images.ts";

const image = anImage();
const good = layoutOf(image);
const [, index, ...blobs] = good;
if (index?.bytes === undefined) throw new Error("a layout has an index");
const end = Buffer.alloc(1024);

function contents(change: object): Member {
  const value = {
    bundleVersion: 1,
    index: digestOf(index?.bytes ?? end),
    required: [],
    deltas: [],
    files: [],
    ...change,
  };
  return { name: "strata-bundle.json", bytes: Buffer.from(JSON.stringify(value)) };
}

async function load(bytes: Buffer): Promise<CliResult & { readonly stored: readonly string[] }> {
  await using folder = aTemporaryDirectory();
  await using server = await aRegistryServer();
  const file = join(folder.path, "b.tar");
  writeFileSync(file, bytes);
  const result = await runAt(server.url, "bundle", "load", file);
  const listed = await runAt(server.url, "cartridge", "ls", "-o", "name");
  const digest = await digestIn(server.url, "app", image.manifest.digest);
  return { ...result, stored: [...listed.stdout.split("\n"), digest ?? ""].filter(Boolean) };
}

/** Refused with these words, and nothing in the store. */
async function refused(bytes: Buffer, words: RegExp | string): Promise<void> {
  const { status, stderr, stored } = await load(bytes);
  assert.is(status, 2, stderr);
  assert.match(stderr, words);
  assert.equal(stored, []);
}

const withMember = (member: Member): Buffer => archive([...good, member]);
const damagedBlob = { ...blobMember(Buffer.from("abc")), bytes: Buffer.from("abd") };

suite("bundle load of hostile archives", (test) => {
  test("takes the good one that the others are made from", async () => {
    const { status, stderr, stored } = await load(archive(good));
    assert.is(status, 0, stderr);
    assert.equal(stored, ["app", image.manifest.digest]);
  });

  test("takes names and sizes from PAX headers and GNU's long names", async () => {
    const pax = good.flatMap(({ name, bytes = end }): readonly Member[] => {
      const records = paxRecord("path", `./${name}`) + paxRecord("size", String(bytes.length));
      const extension = Buffer.from(records + paxRecord("mtime", "1.5"));
      return [
        { name: "x", type: "x", bytes: extension },
        { name: "short", bytes },
      ];
    });
    assert.is((await load(archive(pax))).status, 0);
    const gnu = good.flatMap((member): readonly Member[] => [
      { name: "././@LongLink", type: "L", bytes: Buffer.from(`${member.name}\0`) },
      { ...member, name: member.name.slice(0, 20) },
    ]);
    assert.is((await load(archive(gnu))).status, 0);
  });

  for (const name of ["../evil", "/etc/evil", "a/../../b", "a//b", "a\nb", "blobs/./x", ""]) {
    test(`refuses the name ${JSON.stringify(name)}`, () =>
      refused(withMember({ name, bytes: Buffer.from("x") }), /no name/));
  }

  for (const [name, words] of [
    ["blobs/sha256/ABC", "is no name for a blob"],
    [`blobs/md5/${"a".repeat(32)}`, "is no name for a blob"],
    ["blobs/x", "is no name for a blob"],
    ["strata/evil", "is not listed in it"],
  ] as const) {
    test(`refuses ${name}`, () => refused(withMember({ name, bytes: Buffer.from("x") }), words));
  }

  for (const type of ["1", "2", "3", "4", "6", "7", "S", "K"]) {
    test(`refuses an entry of type ${type}`, () =>
      refused(withMember({ name: "link", type, linkname: "/etc/passwd" }), "neither a file nor"));
  }

  test("refuses an entry that is there twice", async () => {
    await refused(withMember(marker), "oci-layout is there twice");
    await refused(withMember({ name: "./index.json", bytes: end }), "index.json is there twice");
  });

  test("refuses an archive that is cut off anywhere", async () => {
    const whole = archive(good);
    for (const length of [0, 100, 512, 700, 2000, whole.length - 1024, whole.length - 512]) {
      await refused(whole.subarray(0, length), /cut off|not a tar file/);
    }
  });

  test("refuses entries behind the end", () =>
    refused(Buffer.concat([archive(good), archive(good)]), "something behind its end"));

  test("refuses sizes and headers that readers would take for different things", async () => {
    const huge = { name: "x", bytes: Buffer.alloc(0), size: 0o7777777777 };
    await refused(withMember(huge), "cut off");
    const negative = header({ name: "x" });
    negative.fill(0xff, 124, 136);
    await refused(Buffer.concat([members(good), withChecksum(negative), end]), "too large");
    const junk = header({ name: "x" });
    junk.write("12x", 124, "latin1");
    await refused(Buffer.concat([members(good), withChecksum(junk), end]), "not a number");
    const flipped = archive(good);
    flipped[0] = 0x4f;
    await refused(flipped, "checksum");
    const hidden = header({ name: "x" });
    hidden.write("y", 50, "latin1");
    await refused(Buffer.concat([members(good), withChecksum(hidden), end]), "behind its end");
  });

  test("refuses PAX headers that are broken, doubled, sparse or global", async () => {
    const pax = (text: string, type = "x"): Buffer =>
      archive([...good, { name: "p", type, bytes: Buffer.from(text) }, { name: "y", bytes: end }]);
    await refused(pax("9999 path=x\n"), "broken");
    await refused(pax("path=x\n"), "broken");
    await refused(pax(paxRecord("path", "a") + paxRecord("path", "b")), "twice");
    await refused(pax(paxRecord("GNU.sparse.major", "1")), "sparse");
    await refused(pax(paxRecord("size", "-1")), "not a number");
    await refused(pax(paxRecord("path", "../evil")), "no name");
    await refused(pax(paxRecord("path", "z"), "g"), "global header");
    const twice = { name: "p", type: "x", bytes: Buffer.from(paxRecord("path", "a")) };
    await refused(archive([...good, twice, twice, { name: "y" }]), "two extension headers");
    await refused(archive([...good, twice]), "ends after an extension header");
    const long = { name: "p", type: "x", bytes: Buffer.alloc(70_000) };
    await refused(archive([...good, long]), "too long");
  });

  test("refuses a blob that is damaged, missing or of another length", async () => {
    await refused(withMember(damagedBlob), "is damaged");
    await refused(archive(good.slice(0, -1)), /blob sha256:\w+ is missing/);
    await refused(archive([marker, index]), /manifest sha256:\w+ is missing/);
    const { bytes } = image.manifest;
    const wrong = indexMember(image, "app:1", { size: bytes.length + 1 });
    await refused(archive([marker, wrong, ...blobs]), /has \d+ bytes, not \d+/);
  });

  test("refuses what is no layout", async () => {
    await refused(archive([index, ...blobs]), "has no oci-layout");
    await refused(archive([marker, ...blobs]), "has no index.json");
    const version = { ...marker, bytes: Buffer.from(`{"imageLayoutVersion":"2.0.0"}`) };
    await refused(archive([version, index, ...blobs]), "has no oci-layout of version 1.0.0");
    const twice = { ...index, bytes: Buffer.from(`{"manifests":[],"manifests":[]}`) };
    await refused(archive([marker, twice, ...blobs]), "is there twice");
    const deep = { ...index, bytes: Buffer.from("[".repeat(10_000) + "]".repeat(10_000)) };
    await refused(archive([marker, deep, ...blobs]), "nested deeper");
  });

  for (const name of ["UPPER:1", "a/../b:1", "app", "app:", "app:-", "a b:1", ":1"]) {
    test(`refuses an image called ${JSON.stringify(name)}`, () =>
      refused(archive([marker, indexMember(image, name), ...blobs]), "is called"));
  }

  test("refuses a name that names two images", () => {
    const other = anImage();
    const entries = [image, other].map(({ manifest }) => ({
      ...describeManifest(manifest),
      annotations: { "org.opencontainers.image.ref.name": "app:1" },
    }));
    const value = { schemaVersion: 2, mediaType: mediaTypes.index, manifests: entries };
    const both = { ...index, bytes: Buffer.from(JSON.stringify(value)) };
    const more = layoutOf(other).slice(2);
    return refused(archive([marker, both, ...blobs, ...more]), "app:1 names two images");
  });

  test("refuses manifests that two readers would read in two ways", async () => {
    const as = (value: object, mediaType: string): Buffer => {
      const manifest = buildManifest(value, mediaType);
      const strange = { manifest, blobs: [] };
      const names = [indexMember(strange), blobMember(manifest.bytes)];
      return archive([marker, ...names]);
    };
    const both = { schemaVersion: 2, manifests: [], layers: [] };
    await refused(as(both, mediaTypes.index), "layers does not belong into it");
    const disguised = { schemaVersion: 2, mediaType: mediaTypes.manifest, manifests: [] };
    await refused(as(disguised, mediaTypes.index), "it calls itself");
    await refused(as({}, "text/html"), "its type text/html is not known");
    await refused(as({ schemaVersion: 1 }, mediaTypes.manifest), "lacks what a manifest has");
  });

  test("refuses indexes without end", async () => {
    let manifest = buildManifest({ schemaVersion: 2, manifests: [] }, mediaTypes.index);
    const all: Member[] = [blobMember(manifest.bytes)];
    for (let depth = 0; depth < 20; depth += 1) {
      const manifests = [describeManifest(manifest)];
      manifest = buildManifest({ schemaVersion: 2, manifests }, mediaTypes.index);
      all.push(blobMember(manifest.bytes));
    }
    const top = indexMember({ manifest, blobs: [] });
    await refused(archive([marker, top, ...all]), "nested over 8 deep");
  });

  test("refuses a list of contents that lies", async () => {
    const { digest } = image.manifest;
    const name = { digest, size: image.manifest.bytes.length };
    await refused(withMember(contents({ index: digest })), "not the one that it was made with");
    await refused(withMember(contents({ bundleVersion: 2 })), "cannot be read: bundleVersion");
    await refused(withMember(contents({ required: [name] })), "both there and left out");
    const lost = { digest: digestOf(Buffer.from("lost")), size: 4 };
    const delta = { ...lost, patch: lost, sources: [name] };
    await refused(withMember(contents({ deltas: [delta] })), "patch sha256:");
    const file = { ...lost, path: "strata/agent" };
    await refused(withMember(contents({ files: [file] })), "strata/agent is missing");
    await refused(
      withMember(contents({ files: [{ ...file, path: "strata/../x" }] })),
      "files.0.path",
    );
  });

  test("refuses what is left out and not in the store", async () => {
    const config = image.blobs[0] ?? end;
    const required = [{ digest: digestOf(config), size: config.length }];
    const left = good.filter(({ bytes }) => bytes !== config);
    await refused(archive([...left, contents({ required })]), "which the store lacks");
  });
});
