/** Whether what a cartridge names can run: found in the store, whole, and with a readable config. */
import {
  CONFIG_SIZE_BYTES_MAX,
  type Descriptor,
  ImageConfig,
  ImageIndex,
  ImageManifest,
} from "@strata/protocol/oci/image";
import { isIndex, layerCompression } from "@strata/protocol/oci/media-type";
import { formatReference, parseReference } from "@strata/protocol/oci/reference";
import type { z } from "zod";

import type { ImageVariant } from "../domain/image-variant.ts";
import type { ImagePort } from "../domain/running.ts";
import { ControllerError } from "../errors.ts";

/** The part of the registry that this needs. */
export type ImageSource = {
  /** The manifest or index behind a tag or digest; undefined when there is none. */
  readonly resolve: (
    repository: string,
    reference: string,
  ) => Promise<
    { readonly digest: string; readonly mediaType: string; readonly body: Uint8Array } | undefined
  >;
  /** A small blob whole; undefined when there is none or it is larger than `sizeBytesMax`. */
  readonly readBlob: (request: {
    readonly repository: string;
    readonly digest: string;
    readonly sizeBytesMax: number;
  }) => Promise<Uint8Array | undefined>;
};

export type RunnableImage = {
  readonly repository: string;
  readonly digest: string;
  readonly ports: readonly ImagePort[];
  /** One for each architecture that it can run on. */
  readonly variants: readonly ImageVariant[];
};

const PORTS_MAX = 64;
const architectures = ["amd64", "arm64"];

/** @throws ControllerError IMAGE_NOT_FOUND or IMAGE_NOT_RUNNABLE */
export async function inspectImage(source: ImageSource, text: string): Promise<RunnableImage> {
  const reference = parseReference(text);
  const { repository } = reference;
  const wanted = "digest" in reference ? reference.digest : reference.tag;
  const found = await source.resolve(repository, wanted);
  if (found === undefined) {
    throw new ControllerError(
      "IMAGE_NOT_FOUND",
      `the store has no image ${formatReference(reference)}`,
      {
        hint: `push it first: strata cartridge push, or skopeo copy … docker://<controller>/${formatReference(reference)}`,
      },
    );
  }
  const image: Image = { source, repository, name: formatReference(reference) };
  const manifests = isIndex(found.mediaType)
    ? await readChildren(image, parseJson(image, ImageIndex, found.body))
    : [parseJson(image, ImageManifest, found.body)];
  const configs = await Promise.all(manifests.map((manifest) => readConfig(image, manifest)));
  const [config] = configs;
  if (config === undefined) throw notRunnable(image, "it holds no linux image for amd64 or arm64");
  const variants = configs.map(({ architecture }, index) =>
    toVariant(architecture, manifests[index]),
  );
  return { repository, digest: found.digest, ports: exposedPorts(config), variants };
}

function toVariant(architecture: string, manifest: ImageManifest | undefined): ImageVariant {
  const layers = (manifest?.layers ?? []).map(({ digest, size }) => ({ digest, size }));
  return { architecture, layers };
}

type Image = { readonly source: ImageSource; readonly repository: string; readonly name: string };

async function readChildren(image: Image, index: ImageIndex): Promise<readonly ImageManifest[]> {
  const runnable = index.manifests
    .filter(
      ({ platform }) => platform?.os === "linux" && architectures.includes(platform.architecture),
    )
    .slice(0, architectures.length * 4);
  return Promise.all(
    runnable.map(async ({ digest }) => {
      const child = await image.source.resolve(image.repository, digest);
      if (child === undefined) throw notRunnable(image, `its manifest ${digest} is missing`);
      return parseJson(image, ImageManifest, child.body);
    }),
  );
}

async function readConfig(image: Image, manifest: ImageManifest): Promise<ImageConfig> {
  const { config, layers } = manifest;
  const strange = layers.find(({ mediaType }) => layerCompression(mediaType) === undefined);
  if (strange !== undefined)
    throw notRunnable(image, `its layer ${strange.digest} is of type ${strange.mediaType}`);
  const bytes = await readDescribed(image, config);
  const parsed = parseJson(image, ImageConfig, bytes);
  if (parsed.os !== "linux") throw notRunnable(image, `it is made for ${parsed.os}`);
  if (parsed.rootfs.diff_ids.length !== layers.length)
    throw notRunnable(
      image,
      `${layers.length} layers, but ${parsed.rootfs.diff_ids.length} diff_ids`,
    );
  return parsed;
}

async function readDescribed(image: Image, { digest }: Descriptor): Promise<Uint8Array> {
  const { source, repository } = image;
  const bytes = await source.readBlob({ repository, digest, sizeBytesMax: CONFIG_SIZE_BYTES_MAX });
  if (bytes === undefined) throw notRunnable(image, `its config ${digest} is missing or too large`);
  return bytes;
}

function parseJson<Schema extends z.ZodType>(
  image: Image,
  schema: Schema,
  bytes: Uint8Array,
): z.output<Schema> {
  try {
    return schema.parse(JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(bytes)));
  } catch (cause) {
    throw notRunnable(image, "its manifest or config is not that of a container image", cause);
  }
}

function notRunnable(image: Image, why: string, cause?: unknown): ControllerError {
  return new ControllerError("IMAGE_NOT_RUNNABLE", `${image.name} cannot run: ${why}`, {
    ...(cause === undefined ? {} : { cause }),
    hint: "push a container image: an artifact, a signature or an empty index has nothing to start",
  });
}

/** `8080/tcp`, `53/udp`, `80`; others, ranges among them, are left out. */
function exposedPorts({ config }: ImageConfig): readonly ImagePort[] {
  return Object.keys(config?.ExposedPorts ?? {})
    .flatMap((text): ImagePort[] => {
      const match = /^(\d{1,5})(?:\/(tcp|udp))?$/.exec(text);
      const containerPort = Number(match?.[1] ?? 0);
      if (containerPort < 1 || containerPort > 65_535) return [];
      return [{ containerPort, protocol: match?.[2] === "udp" ? "udp" : "tcp" }];
    })
    .toSorted((a, b) => a.containerPort - b.containerPort || (a.protocol < b.protocol ? -1 : 1))
    .slice(0, PORTS_MAX);
}
