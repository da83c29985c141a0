/** Rules about what the store keeps and how much it may hold. */
import { z } from "zod";

import { Name } from "../names.ts";
import { parsePublicKey } from "../signature/public-key.ts";
import { Bytes, DurationMs } from "../units.ts";

const COUNT_MAX = 100_000;

/** `*` stands for any run of characters, slashes too; `?` for one. */
const Pattern = z
  .string()
  .regex(
    /^[A-Za-z0-9._/*?-]{1,255}$/,
    "a pattern has letters, digits and . _ - / with * for any run of characters and ? for one",
  );

/** PEM, as cosign writes it to `cosign.pub`. */
const PublicKey = z.string().transform((pem, context) => {
  try {
    parsePublicKey(pem);
    return pem.trim();
  } catch (error) {
    const message = error instanceof Error ? error.message : "the key cannot be read";
    context.addIssue({ code: "custom", message });
    return z.NEVER;
  }
});

const times = {
  revision: z.int().positive(),
  createdAt: z.iso.datetime(),
  updatedAt: z.iso.datetime(),
};

/** What garbage collection leaves in some repositories. A tag stays when any of the rules keeps it; without a rule for
 * tags, all tags stay. What runs on a node stays whatever the rules. */
export const RetentionPolicyInput = z.strictObject({
  /** The repositories that it is for. Where several policies fit, the first by name counts. */
  repositories: z.array(Pattern).min(1).max(100),
  /** So many tags, those moved last. */
  keepLast: z.int().min(0).max(COUNT_MAX).optional(),
  /** Tags that fit one of these patterns. */
  keepTags: z.array(Pattern).max(100).optional(),
  /** Tags whose image was pulled, or that were moved, within so long. */
  keepPulledWithin: DurationMs.optional(),
  /** Manifests without a tag stay too. */
  keepUntagged: z.boolean().default(false),
});
export const RetentionPolicyResource = z.object({
  name: Name,
  repositories: z.array(z.string()),
  keepLast: z.int().nullable(),
  keepTags: z.array(z.string()).nullable(),
  /** Seconds. */
  keepPulledWithin: z.number().nullable(),
  keepUntagged: z.boolean(),
  ...times,
});
export type RetentionPolicyResource = z.infer<typeof RetentionPolicyResource>;

/** How much the repository of this name and all below it may hold together: a tenant's quota has the tenant's name. */
export const StoreQuotaInput = z.strictObject({ bytes: Bytes });
export const StoreQuotaResource = z.object({ name: Name, bytes: z.int(), ...times });
export type StoreQuotaResource = z.infer<typeof StoreQuotaResource>;

const NamedKey = z.strictObject({ name: Name, publicKey: PublicKey });
export type NamedKey = z.output<typeof NamedKey>;

/** Whose signature an image must have before its processes are placed. */
export const signatureModes = ["off", "warn", "enforce"] as const;
export type SignatureMode = (typeof signatureModes)[number];
export const SignaturePolicyInput = z.strictObject({
  /** The repositories that it is for. Where several policies fit, the first by name counts. */
  repositories: z.array(Pattern).min(1).max(100),
  /** `warn` says in an event what `enforce` would refuse. */
  mode: z.enum(signatureModes).default("enforce"),
  /** A signature by any of them will do. */
  keys: z.array(NamedKey).max(16).default([]),
});
export const SignaturePolicyResource = z.object({
  name: Name,
  repositories: z.array(z.string()),
  mode: z.enum(signatureModes),
  keys: z.array(z.object({ name: Name, publicKey: z.string() })),
  ...times,
});
export type SignaturePolicyResource = z.infer<typeof SignaturePolicyResource>;

export const CollectInput = z.strictObject({
  /** Say what would go, and change nothing. */
  dryRun: z.boolean().default(false),
  /** What was used within this time stays; left out, the setting's. */
  grace: DurationMs.optional(),
});
export const CollectionReport = z.object({
  at: z.iso.datetime(),
  dryRun: z.boolean(),
  repositories: z.int(),
  tags: z.int(),
  manifests: z.int(),
  blobs: z.int(),
  bytes: z.int(),
  removed: z.array(
    z.object({
      repository: z.string(),
      kind: z.enum(["tag", "manifest", "blob"]),
      name: z.string(),
      sizeBytes: z.int(),
    }),
  ),
});
export type CollectionReport = z.infer<typeof CollectionReport>;

export const ScrubReport = z.object({
  at: z.iso.datetime(),
  blobs: z.int(),
  bytes: z.int(),
  /** Found lost or altered, and taken out of service. */
  corrupt: z.array(z.string()),
  repaired: z.array(z.string()),
  /** Claimed by a repository, and not to be had: a push of them brings them back. */
  lost: z.array(z.string()),
  /** Whether it came to the end of all blobs; the next one goes on where it stopped. */
  complete: z.boolean(),
});
export type ScrubReport = z.infer<typeof ScrubReport>;

export const StoreStatus = z.object({
  /** Of blobs and manifests, each counted once. */
  bytes: z.int(),
  quotas: z.array(z.object({ name: Name, bytes: z.int(), usedBytes: z.int() })),
  /** Since the controller started; null before the first. */
  lastCollection: CollectionReport.omit({ removed: true }).nullable(),
  lastScrub: ScrubReport.nullable(),
});
export type StoreStatus = z.infer<typeof StoreStatus>;
