/** The data sets of the conformance suite: what is pushed, in which order, under which tags. */
import { mediaTypes } from "@strata/protocol/oci/media-type";

import {
  anImage,
  anIndex,
  type BuiltImage,
  type BuiltManifest,
  describe,
  describeManifest,
} from "../support/images.ts";
import { randomBlob } from "../support/registry-client.ts";

export type Entry = {
  readonly manifest: BuiltManifest;
  readonly tags: readonly string[];
  /** The digest that `OCI-Subject` must name. */
  readonly subject?: string;
};

export type DataSet = {
  readonly name: string;
  readonly algorithm: "sha256" | "sha512";
  readonly blobs: readonly Buffer[];
  /** Children first. */
  readonly entries: readonly Entry[];
  /** Whether the tags are given by `?tag=` instead of one PUT each. */
  readonly tagParameters?: boolean;
};

const emptyJson = Buffer.from("{}");
const emptyConfig = { config: emptyJson, configType: mediaTypes.empty } as const;

function single(name: string, image: BuiltImage): DataSet {
  const entries = [{ manifest: image.manifest, tags: [name] }];
  return { name, algorithm: "sha256", blobs: image.blobs, entries };
}

function largeManifest(): DataSet {
  const annotations = Object.fromEntries(
    Array.from({ length: 390 }, (_, index) => [`key-${index}`, "x".repeat(10_000)]),
  );
  return single("large-manifest", anImage({ fields: { annotations } }));
}

function platform(image: BuiltImage, architecture: string): object & ReturnType<typeof describe> {
  return { ...describeManifest(image.manifest), platform: { os: "linux", architecture } };
}

function index(): DataSet {
  const [one, two] = [anImage(), anImage()];
  const both = anIndex([platform(one, "amd64"), platform(two, "arm64")]);
  return {
    name: "index",
    algorithm: "sha256",
    blobs: [...one.blobs, ...two.blobs],
    entries: [
      { manifest: one.manifest, tags: [] },
      { manifest: two.manifest, tags: [] },
      { manifest: both, tags: ["index"] },
    ],
  };
}

function nestedIndex(): DataSet {
  const [one, two] = [anImage(), anImage()];
  const inner = [anIndex([platform(one, "amd64")]), anIndex([platform(two, "arm64")])];
  return {
    name: "nested-index",
    algorithm: "sha256",
    blobs: [...one.blobs, ...two.blobs],
    entries: [
      { manifest: one.manifest, tags: [] },
      { manifest: two.manifest, tags: [] },
      ...inner.map((manifest) => ({ manifest, tags: [] })),
      { manifest: anIndex(inner.map(describeManifest)), tags: ["nested-index"] },
    ],
  };
}

function emptyIndex(): DataSet {
  const entries = [{ manifest: anIndex([]), tags: ["empty-index"] }];
  return { name: "empty-index", algorithm: "sha256", blobs: [], entries };
}

function artifactIndex(): DataSet {
  const artifact = anImage({
    ...emptyConfig,
    fields: { artifactType: "application/vnd.example.v1" },
  });
  const fields = { artifactType: "application/vnd.example.index.v1" };
  return {
    name: "artifact-index",
    algorithm: "sha256",
    blobs: artifact.blobs,
    entries: [
      { manifest: artifact.manifest, tags: [] },
      {
        manifest: anIndex([describeManifest(artifact.manifest)], { fields }),
        tags: ["artifact-index"],
      },
    ],
  };
}

/** An artifact that refers to `subject`; without a type, its config's media type stands for it. */
export function aReferrer(
  subject: BuiltManifest,
  { artifactType, note }: { readonly artifactType?: string; readonly note: string },
): BuiltImage {
  return anImage({
    ...(artifactType === undefined ? {} : emptyConfig),
    fields: {
      ...(artifactType === undefined ? {} : { artifactType }),
      subject: describeManifest(subject),
      annotations: { note },
    },
  });
}

function artifactsWithSubject(): DataSet {
  const image = anImage();
  const referrers = [
    aReferrer(image.manifest, { note: "no type" }),
    aReferrer(image.manifest, { artifactType: "application/vnd.example.v1", note: "one" }),
    aReferrer(image.manifest, { artifactType: "application/vnd.example.v2", note: "two" }),
  ];
  return {
    name: "artifacts-with-subject",
    algorithm: "sha256",
    blobs: [image, ...referrers].flatMap(({ blobs }) => blobs),
    entries: [
      { manifest: image.manifest, tags: ["subject"] },
      ...referrers.map(({ manifest }, number) => ({
        manifest,
        tags: [`referrer-${number}`],
        subject: image.manifest.digest,
      })),
    ],
  };
}

function indexWithSubject(): DataSet {
  const image = anImage();
  const subject = anIndex([platform(image, "amd64")]);
  const fields = {
    artifactType: "application/vnd.example.index.v1",
    subject: describeManifest(subject),
  };
  return {
    name: "index-with-subject",
    algorithm: "sha256",
    blobs: image.blobs,
    entries: [
      { manifest: image.manifest, tags: [] },
      { manifest: subject, tags: ["index-subject"] },
      { manifest: anIndex([], { fields }), tags: ["index-referrer"], subject: subject.digest },
    ],
  };
}

function missingSubject(): DataSet {
  const absent = anImage().manifest;
  const referrer = aReferrer(absent, { artifactType: "application/vnd.example.v1", note: "early" });
  return {
    name: "missing-subject",
    algorithm: "sha256",
    blobs: referrer.blobs,
    entries: [{ manifest: referrer.manifest, tags: ["early"], subject: absent.digest }],
  };
}

function dataField(): DataSet {
  const config = Buffer.from(`{"architecture":"amd64","os":"linux"}`);
  const layer = randomBlob();
  const fields = {
    config: { ...describe(config, mediaTypes.config), data: config.toString("base64") },
    layers: [{ ...describe(layer, mediaTypes.layer), data: layer.toString("base64") }],
  };
  return single("data-field", anImage({ config, layers: [layer], fields }));
}

function nonDistributable(): DataSet {
  const types = ["tar", "tar+gzip"].map(
    (suffix) => `application/vnd.oci.image.layer.nondistributable.v1.${suffix}`,
  );
  const layers = types.map((type) => ({
    ...describe(randomBlob(), type),
    urls: ["https://layers.example/never-fetched"],
  }));
  return single("non-distributable-layers", anImage({ layers: [], fields: { layers } }));
}

function customFields(): DataSet {
  const config = Buffer.from(
    `{"architecture":"amd64","os":"linux","org.example.extra":{"a":[1,2]}}`,
  );
  const fields = { "org.example.extra": { nested: { deep: true } }, zeta: null };
  return single("custom-fields", anImage({ config, fields }));
}

function sha512(): DataSet {
  const [one, two] = [anImage({ algorithm: "sha512" }), anImage({ algorithm: "sha512" })];
  const both = anIndex([platform(one, "amd64"), platform(two, "arm64")], { algorithm: "sha512" });
  return {
    name: "sha512",
    algorithm: "sha512",
    blobs: [...one.blobs, ...two.blobs],
    entries: [one.manifest, two.manifest, both].map((manifest) => ({ manifest, tags: [] })),
  };
}

function tagParameters(algorithm: "sha256" | "sha512"): DataSet {
  const image = anImage({ algorithm });
  const tags = Array.from({ length: 12 }, (_, number) => `${algorithm}-tag-${number}`);
  return {
    name: `tag-param-${algorithm}`,
    algorithm,
    blobs: image.blobs,
    entries: [{ manifest: image.manifest, tags }],
    tagParameters: true,
  };
}

export const dataSets: readonly DataSet[] = [
  single("image", anImage()),
  single("image-uncompressed", anImage({ layerType: mediaTypes.layer })),
  largeManifest(),
  index(),
  nestedIndex(),
  emptyIndex(),
  single(
    "artifact",
    anImage({ ...emptyConfig, fields: { artifactType: "application/vnd.example.v1" } }),
  ),
  artifactIndex(),
  single(
    "artifact-without-layers",
    anImage({
      ...emptyConfig,
      layers: [emptyJson],
      layerType: mediaTypes.empty,
      fields: { artifactType: "application/vnd.example.v1" },
    }),
  ),
  artifactsWithSubject(),
  indexWithSubject(),
  missingSubject(),
  dataField(),
  nonDistributable(),
  customFields(),
  single("no-layers", anImage({ layers: [] })),
  sha512(),
  tagParameters("sha256"),
  tagParameters("sha512"),
];
