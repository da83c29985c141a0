/** Certificates of the ingress: a tenant's own, those of our CA, and those that an ACME server gives. */
import { z } from "zod";

import { Name } from "../names.ts";
import { Host } from "./network.ts";
const HostName = Host.refine((host) => !host.startsWith("*."), "HTTP-01 proves no wildcards");

/** RFC 8555, 7.3.4: what an ACME server that knows its customers gave beforehand. */
const ExternalAccount = z.strictObject({
  keyId: z.string().min(1).max(255),
  /** The secret of the tenant that holds the key, as the server gave it (base64url). */
  secret: Name,
});

const AcmeInput = z.strictObject({
  source: z.literal("acme"),
  /** Proven by HTTP-01, which knows no wildcards. */
  hosts: z.array(HostName).min(1).max(100),
  /** One of the setting STRATA_ACME_DIRECTORIES; left out, its first. */
  directory: z
    .url({ protocol: /^https$/ })
    .max(1024)
    .optional(),
  /** Where the server writes to when a certificate is about to end. */
  contact: z.array(z.email().max(254)).max(5).default([]),
  externalAccount: ExternalAccount.optional(),
});
const InternalInput = z.strictObject({
  source: z.literal("internal"),
  hosts: z.array(Host).min(1).max(100),
});

export const CertificateInput = z.discriminatedUnion("source", [
  z.strictObject({
    source: z.literal("given"),
    /** The certificate, then those between it and the CA, in PEM. */
    chain: z
      .string()
      .min(1)
      .max(96 * 1024),
    /** Not encrypted, in PEM; RSA of 2048 bits or more, or P-256, P-384, P-521. */
    key: z
      .string()
      .min(1)
      .max(16 * 1024),
  }),
  InternalInput,
  AcmeInput,
]);

/** As it may stand in files: without a key. */
export const CertificateFileInput = z.discriminatedUnion("source", [InternalInput, AcmeInput]);

const certificateStates = ["pending", "ready", "failing", "expired"] as const;

export const Certificate = z.object({
  name: Name,
  tenant: Name,
  source: z.enum(["given", "internal", "acme"]),
  /** Asked for; of a given one, those that it holds. */
  hosts: z.array(z.string()),
  directory: z.string().nullable(),
  contact: z.array(z.string()),
  externalAccount: ExternalAccount.nullable(),
  status: z.object({
    /** `failing`: the last try to get one, or the next one, failed; the present one is shown until it ends. */
    state: z.enum(certificateStates),
    /** Of the present certificate, like all below; null while there is none. */
    names: z.array(z.string()),
    issuer: z.string().nullable(),
    /** SHA-256 of the certificate, hexadecimal. */
    fingerprint: z.string().nullable(),
    notBefore: z.string().nullable(),
    notAfter: z.string().nullable(),
    /** When the next one is asked for; of a given one null: that is its owner's. */
    renewAt: z.string().nullable(),
    /** Why there is none, or no new one. */
    message: z.string().nullable(),
    /** Not before then it is tried again. */
    nextTryAt: z.string().nullable(),
  }),
  revision: z.int().positive(),
  createdAt: z.iso.datetime(),
  updatedAt: z.iso.datetime(),
});
export type Certificate = z.infer<typeof Certificate>;
