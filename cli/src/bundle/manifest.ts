/** Manifests and indexes as a bundle sees them: what they need, and in which order it has to be there. */
import { CodedError } from "@strata/protocol/coded-error";
import { type Descriptor, ImageIndex, ImageManifest } from "@strata/protocol/oci/image";
import { isIndex, manifestMediaTypes } from "@strata/protocol/oci/media-type";
import { parseStrictJson } from "@strata/protocol/oci/strict-json";

import { CliError } from "../errors.ts";

export type Manifest = {
  readonly descriptor: Descriptor;
  readonly bytes: Buffer;
  /** Manifests that an index is made of. */
  readonly children: readonly Descriptor[];
  /** Config and layers, but for layers that may not be handed on. */
  readonly blobs: readonly Descriptor[];
  /** Those of the blobs that are layers, in order. */
  readonly layers: readonly Descriptor[];
  readonly subject: Descriptor | undefined;
  readonly artifactType: string | undefined;
};

/** image-spec v1.1, "Non-Distributable Layers", and Docker's foreign ones. */
const foreign = /nondistributable|rootfs\.foreign/;

/** @throws CliError LAYOUT_INVALID for what is malformed, of another type, or could be read in two ways */
export function parseManifest(descriptor: Descriptor, bytes: Buffer): Manifest {
  const { mediaType, digest } = descriptor;
  try {
    const value = parseStrictJson(bytes);
    if (!manifestMediaTypes.includes(mediaType))
      throw refuse(digest, `its type ${mediaType} is not known`);
    const stated = isObject(value) && "mediaType" in value ? value["mediaType"] : mediaType;
    if (stated !== mediaType) throw refuse(digest, `it calls itself ${String(stated)}`);
    return isIndex(mediaType)
      ? readIndex(descriptor, bytes, value)
      : readImage(descriptor, bytes, value);
  } catch (cause) {
    if (cause instanceof CliError) throw cause;
    const why = cause instanceof CodedError ? cause.message : "it lacks what a manifest has";
    throw refuse(digest, why, cause);
  }
}

function readIndex(descriptor: Descriptor, bytes: Buffer, value: unknown): Manifest {
  refuseFields(descriptor, value, ["layers", "config"]);
  const { manifests, subject, artifactType } = ImageIndex.parse(value);
  return { descriptor, bytes, children: manifests, blobs: [], layers: [], subject, artifactType };
}

function readImage(descriptor: Descriptor, bytes: Buffer, value: unknown): Manifest {
  refuseFields(descriptor, value, ["manifests"]);
  const { config, layers, subject, artifactType } = ImageManifest.parse(value);
  const kept = layers.filter(({ mediaType }) => !foreign.test(mediaType));
  const blobs = [config, ...kept];
  const type = artifactType ?? config.mediaType;
  return { descriptor, bytes, children: [], blobs, layers: kept, subject, artifactType: type };
}

/** A manifest that is also an index is one to this reader and the other to the next. */
function refuseFields({ digest }: Descriptor, value: unknown, names: readonly string[]): void {
  const found = names.find((name) => isObject(value) && name in value);
  if (found !== undefined) throw refuse(digest, `${found} does not belong into it`);
}

function isObject(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === "object" && value !== null;
}

function refuse(digest: string, why: string, cause?: unknown): CliError {
  return new CliError("LAYOUT_INVALID", `manifest ${digest} cannot be used: ${why}`, { cause });
}
