import { z } from "zod";

import { type Digest, isDigest, parseDigest } from "./digest.ts";

/** threats.md's limits, OCI distribution-spec v1.1: a registry accepts manifests of at least 4 MiB. */
export const MANIFEST_SIZE_BYTES_MAX = 4 * 1024 * 1024;
export const CONFIG_SIZE_BYTES_MAX = 8 * 1024 * 1024;
const LAYERS_MAX = 512;
const INDEX_CHILDREN_MAX = 1024;

export const DigestText = z
  .string()
  .refine(isDigest, "not a sha256 or sha512 digest")
  .transform((text): Digest => parseDigest(text));

const Annotations = z.record(z.string(), z.string());

/** image-spec v1.1, "OCI Content Descriptors". `data` and `urls` are never trusted or fetched. */
export const Descriptor = z.object({
  mediaType: z.string().min(1).max(255),
  digest: DigestText,
  size: z.int().nonnegative(),
  artifactType: z.string().max(255).optional(),
  annotations: Annotations.optional(),
  platform: z
    .object({ architecture: z.string(), os: z.string(), variant: z.string().optional() })
    .loose()
    .optional(),
});
export type Descriptor = z.infer<typeof Descriptor>;

/** image-spec v1.1, "OCI Image Manifest Specification". */
export const ImageManifest = z.object({
  schemaVersion: z.literal(2),
  mediaType: z.string().optional(),
  artifactType: z.string().optional(),
  config: Descriptor,
  layers: z.array(Descriptor).max(LAYERS_MAX),
  subject: Descriptor.optional(),
  annotations: Annotations.optional(),
});
export type ImageManifest = z.infer<typeof ImageManifest>;

/** image-spec v1.1, "OCI Image Index Specification". */
export const ImageIndex = z.object({
  schemaVersion: z.literal(2),
  mediaType: z.string().optional(),
  artifactType: z.string().optional(),
  manifests: z.array(Descriptor).max(INDEX_CHILDREN_MAX),
  subject: Descriptor.optional(),
  annotations: Annotations.optional(),
});
export type ImageIndex = z.infer<typeof ImageIndex>;

/** Not of OCI's, but in configs that Docker and podman write. Durations in nanoseconds; 0 is the default. */
const Healthcheck = z.object({
  /** `NONE`, `CMD` and its words, or `CMD-SHELL` and a line. */
  Test: z.array(z.string()).nullish(),
  Interval: z.number().nullish(),
  Timeout: z.number().nullish(),
  StartPeriod: z.number().nullish(),
  StartInterval: z.number().nullish(),
  Retries: z.number().nullish(),
});

/** image-spec v1.1, "OCI Image Configuration". Docker writes null where OCI leaves a field out. */
export const ImageConfig = z.object({
  architecture: z.string(),
  os: z.string(),
  config: z
    .object({
      User: z.string().nullish(),
      ExposedPorts: z.record(z.string(), z.unknown()).nullish(),
      Env: z.array(z.string()).nullish(),
      Entrypoint: z.array(z.string()).nullish(),
      Cmd: z.array(z.string()).nullish(),
      Volumes: z.record(z.string(), z.unknown()).nullish(),
      WorkingDir: z.string().nullish(),
      Labels: z.record(z.string(), z.string()).nullish(),
      StopSignal: z.string().nullish(),
      Healthcheck: Healthcheck.nullish(),
      /** What lines of a Dockerfile are run by. */
      Shell: z.array(z.string()).nullish(),
    })
    .nullish(),
  rootfs: z.object({ type: z.literal("layers"), diff_ids: z.array(DigestText).max(LAYERS_MAX) }),
});
export type ImageConfig = z.infer<typeof ImageConfig>;
