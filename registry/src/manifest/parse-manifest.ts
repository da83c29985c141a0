import type { Digest } from "@strata/protocol/oci/digest";
import { type Descriptor, ImageIndex, ImageManifest } from "@strata/protocol/oci/image";
import { isIndex, manifestMediaTypes } from "@strata/protocol/oci/media-type";
import type { z } from "zod";

import { RegistryError } from "../errors.ts";
import type { ManifestReference } from "../metadata-store.ts";
import { parseStrictJson } from "./strict-json.ts";

/** What the registry needs to know about a manifest. The bytes themselves are kept as they came. */
export type ParsedManifest = {
  readonly mediaType: string;
  readonly references: readonly ManifestReference[];
  readonly subject: Digest | undefined;
  readonly artifactType: string | undefined;
  readonly annotations: Readonly<Record<string, string>> | undefined;
};

const fieldsByLowerCase: ReadonlyMap<string, string> = new Map(
  "schemaVersion mediaType artifactType config layers manifests subject annotations digest size urls data platform"
    .split(" ")
    .map((name) => [name.toLowerCase(), name]),
);
/** The fields that hold descriptors, one or many. */
const descriptorFields: ReadonlySet<string> = new Set(["config", "layers", "manifests", "subject"]);

/** Layers that a registry need not have: image-spec v1.1, "Non-Distributable Layers", and Docker's foreign ones. */
const foreign =
  /^application\/vnd\.(?:oci\.image\.layer\.nondistributable\.v1|docker\.image\.rootfs\.foreign\.diff)\.tar(?:[.+](?:gzip|zstd))?$/;

/** Reads a manifest or index; `contentType` is the header's value.
 * @throws RegistryError MANIFEST_INVALID for what is malformed, unsupported or ambiguous */
export function parseManifest(bytes: Uint8Array, contentType: string | undefined): ParsedManifest {
  const value = parseStrictJson(bytes);
  refuseLookalikes(value);
  const mediaType = agreeOnMediaType(value, contentType);
  return isIndex(mediaType)
    ? describeIndex(mediaType, refuseFields(value, ["layers", "config"]))
    : describeImage(mediaType, refuseFields(value, ["manifests"]));
}

/** Go's JSON reader takes `Layers` for `layers`; everything else does not. In annotations any name goes. */
function refuseLookalikes(value: unknown): void {
  if (typeof value !== "object" || value === null) return;
  for (const [name, child] of Object.entries(value)) {
    const exact = fieldsByLowerCase.get(name.toLowerCase());
    if (exact !== undefined && exact !== name) {
      throw new RegistryError("MANIFEST_INVALID", `${name} is spelt ${exact} in a manifest`);
    }
    if (descriptorFields.has(name)) [child].flat().forEach(refuseLookalikes);
  }
}

/** The header and the body must say the same: two readers must never take one document for two things. */
function agreeOnMediaType(value: unknown, contentType: string | undefined): string {
  const header = contentType?.split(";", 1)[0]?.trim().toLowerCase() ?? "";
  const body =
    typeof value === "object" && value !== null && "mediaType" in value
      ? value.mediaType
      : undefined;
  if (body !== undefined && header !== "" && body !== header) {
    throw new RegistryError(
      "MANIFEST_INVALID",
      `Content-Type is ${header} but the manifest's mediaType is ${JSON.stringify(body).slice(0, 200)}`,
      { hint: "send the manifest's own mediaType as Content-Type" },
    );
  }
  const mediaType = header === "" ? body : header;
  if (typeof mediaType === "string" && manifestMediaTypes.includes(mediaType)) return mediaType;
  throw new RegistryError(
    "MANIFEST_INVALID",
    `no manifest of media type ${JSON.stringify(mediaType ?? null).slice(0, 200)} is stored here`,
    { hint: `push one of ${manifestMediaTypes.join(", ")}` },
  );
}

function refuseFields(value: unknown, names: readonly string[]): unknown {
  const found =
    typeof value === "object" && value !== null ? names.find((name) => name in value) : undefined;
  if (found === undefined) return value;
  throw new RegistryError(
    "MANIFEST_INVALID",
    `the manifest has ${found}, which its mediaType has not`,
    {
      hint: "a document is an image manifest or an index, never both",
    },
  );
}

function describeImage(mediaType: string, value: unknown): ParsedManifest {
  const manifest = parseWith(ImageManifest, value);
  return {
    mediaType,
    references: [manifest.config, ...manifest.layers].map((descriptor) => ({
      ...pickReference(descriptor),
      kind: "blob",
      required: !foreign.test(descriptor.mediaType),
    })),
    subject: manifest.subject?.digest,
    // image-spec v1.1, "Guidelines for Artifact Usage": without one, the config's type stands for it.
    artifactType: manifest.artifactType ?? manifest.config.mediaType,
    annotations: manifest.annotations,
  };
}

function describeIndex(mediaType: string, value: unknown): ParsedManifest {
  const index = parseWith(ImageIndex, value);
  return {
    mediaType,
    references: index.manifests.map((descriptor) => ({
      ...pickReference(descriptor),
      kind: manifestMediaTypes.includes(descriptor.mediaType) ? "manifest" : "blob",
      required: true,
    })),
    subject: index.subject?.digest,
    artifactType: index.artifactType,
    annotations: index.annotations,
  };
}

function pickReference({
  digest,
  size,
}: Descriptor): Pick<ManifestReference, "digest" | "sizeBytes"> {
  return { digest, sizeBytes: size };
}

function parseWith<Schema extends z.ZodType>(schema: Schema, value: unknown): z.output<Schema> {
  const result = schema.safeParse(value);
  if (result.success) return result.data;
  const [issue] = result.error.issues;
  const where = issue === undefined || issue.path.length === 0 ? "manifest" : issue.path.join(".");
  throw new RegistryError("MANIFEST_INVALID", `${where}: ${issue?.message ?? "invalid"}`, {
    cause: result.error,
  });
}
