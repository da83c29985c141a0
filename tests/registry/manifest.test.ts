import { mediaTypes } from "@strata/protocol/oci/media-type";
import { parseManifest } from "@strata/registry/manifest/parse-manifest";
import { parseStrictJson } from "@strata/registry/manifest/strict-json";
import fc from "fast-check";

import { anImage, describe } from "../support/images.ts";
import { randomBlob } from "../support/registry-client.ts";
import { assert, suite, throwsWithCode } from "../support/suite.ts";

const bytes = (text: string): Buffer => Buffer.from(text);
const refuses = (text: string | Buffer): Error =>
  throwsWithCode(() => parseStrictJson(Buffer.from(text)), "MANIFEST_INVALID");

type Tree = { readonly text: string; readonly isAmbiguous: boolean };

suite("parseStrictJson", (test) => {
  test("refuses a name that is twice in one object, however it is written", () => {
    refuses(`{"a":1,"a":2}`);
    refuses(`{"a":1,"b":{"c":[{"d":1,"d":1}]}}`);
    refuses(`{"a":1,"\\u0061":2}`);
    refuses(`{"__proto__":1,"__proto__":2}`);
    refuses(`{"\\"a":1 , "\\u0022a" : 2}`);
  });

  test("takes the same name in different objects, and as a value", () => {
    assert.equal(parseStrictJson(bytes(`{"a":{"a":"a"},"b":["a","a",{"a":1},{"a":"{:}"}]}`)), {
      a: { a: "a" },
      b: ["a", "a", { a: 1 }, { a: "{:}" }],
    });
  });

  test("refuses what is not UTF-8, not JSON, or too deep", () => {
    refuses(Buffer.from([0x22, 0xff, 0x22]));
    refuses("\ufeff{}");
    refuses("{} {}");
    refuses("");
    refuses(`${"[".repeat(100)}${"]".repeat(100)}`);
    refuses("[".repeat(1_000_000));
  });

  test("finds a name that is twice wherever it is", () => {
    const { tree } = fc.letrec<{ tree: Tree; pairs: Tree; leaf: Tree }>((tie) => ({
      tree: fc.oneof({ maxDepth: 4, withCrossShrink: true }, tie("leaf"), tie("pairs")),
      leaf: fc
        .constantFrom(`":"`, `"\\"{"`, "[]", "-1e3", "true")
        .map((text) => ({ text, isAmbiguous: false })),
      pairs: fc
        .array(fc.tuple(fc.constantFrom("a", "b", "\\u0061", "c\\\\", "__proto__"), tie("tree")), {
          maxLength: 4,
        })
        .map((pairs) => ({
          text: `{${pairs.map(([name, { text }]) => `"${name}": ${text}`).join(", ")}}`,
          isAmbiguous:
            new Set(pairs.map(([name]) => JSON.parse(`"${name}"`))).size < pairs.length ||
            pairs.some(([, { isAmbiguous }]) => isAmbiguous),
        })),
    }));
    fc.assert(
      fc.property(tree, ({ text, isAmbiguous }) => {
        if (isAmbiguous) refuses(text);
        else assert.equal(parseStrictJson(bytes(text)), JSON.parse(text));
      }),
      { numRuns: 500 },
    );
  });

  test("reads all else as JSON.parse does", () => {
    fc.assert(
      fc.property(fc.json({ maxDepth: 8 }), (text) => {
        assert.equal(parseStrictJson(bytes(text)), JSON.parse(text));
      }),
      { numRuns: 500 },
    );
  });
});

suite("parseManifest", (test) => {
  const image = anImage().manifest;
  const text = image.bytes.toString();
  const parse = (value: string, contentType?: string): unknown =>
    parseManifest(bytes(value), contentType);
  const refusesManifest = (value: string, contentType?: string): Error =>
    throwsWithCode(() => parse(value, contentType), "MANIFEST_INVALID");

  test("takes the media type from header or body, parameters and all", () => {
    for (const header of [
      undefined,
      "",
      mediaTypes.manifest,
      `${mediaTypes.manifest}; charset=utf-8`,
    ]) {
      assert.is(parseManifest(image.bytes, header).mediaType, mediaTypes.manifest);
    }
  });

  test("refuses a media type that is none, unknown, or not the same in header and body", () => {
    refusesManifest(text, mediaTypes.index);
    refusesManifest(text, mediaTypes.dockerManifest);
    refusesManifest(text, "application/json");
    refusesManifest(text.replace(mediaTypes.manifest, "text/plain"));
    refusesManifest(`{"schemaVersion":2,"manifests":[]}`);
  });

  test("refuses a document that is image and index at once", () => {
    refusesManifest(text.replace("{", `{"manifests":[],`));
    const index = `{"schemaVersion":2,"mediaType":"${mediaTypes.index}","manifests":[]`;
    assert.is(parseManifest(bytes(`${index}}`), undefined).mediaType, mediaTypes.index);
    refusesManifest(`${index},"layers":[]}`);
    refusesManifest(`${index},"config":{}}`);
  });

  test("refuses names that some readers take for others, but not in annotations", () => {
    refusesManifest(text.replace(`"layers"`, `"Layers"`));
    refusesManifest(text.replace("{", `{"LAYERS":[],`));
    refusesManifest(text.replace(`"digest"`, `"Digest"`));
    assert.ok(parse(text.replace("{", `{"annotations":{"Layers":"x","layers":"y"},`)));
  });

  test("refuses descriptors without a usable digest or size", () => {
    refusesManifest(text.replace("sha256:", "sha384:"));
    refusesManifest(text.replace(`"size":512`, `"size":-1`));
    refusesManifest(text.replace(`"size":512`, `"size":1e300`));
    refusesManifest(text.replace(`"size":512`, `"size":"512"`));
    for (const value of ["null", "[]", "1", `"x"`, "{}"])
      refusesManifest(value, mediaTypes.manifest);
  });

  test("asks for no layer that may stay elsewhere", () => {
    const types = [
      "application/vnd.oci.image.layer.nondistributable.v1.tar+zstd",
      "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip",
      mediaTypes.layerGzip,
    ];
    const layers = types.map((type) => describe(randomBlob(), type));
    const parsed = parseManifest(
      anImage({ layers: [], fields: { layers } }).manifest.bytes,
      undefined,
    );
    assert.equal(
      parsed.references.map((reference) => reference.required),
      [true, false, false, true],
    );
  });
});
