/** How nodes get images from each other: the controller says who has a blob, and the node that has it serves it.
 *
 *   POST /v1/nodes/{id}/peers/announce     PeerAnnouncement → 204
 *   POST /v1/nodes/{id}/peers/find         PeerSearch → PeerAnswer
 *   POST /v1/nodes/{id}/peers/certificate  PeerCertificateRequest → PeerCertificate
 *
 * And at a node, over TLS with that certificate, Bearer = the ticket of the answer:
 *
 *   GET  /v2/{repository}/blobs/{digest}   the bytes, also those that are still on their way there; Range: bytes=N-
 */
import { z } from "zod";

import { DigestText } from "../oci/image.ts";
import { isRepository } from "../oci/reference.ts";

/** Digests in one announcement; more come in further ones. */
export const PEER_PAGE_MAX = 1000;

/** What a node has for others. Safe to repeat. */
export const PeerAnnouncement = z.object({
  /** One life of the agent: another one has forgotten what it was fetching. */
  bootId: z.string().max(64),
  /** Where it serves; left out, it serves nothing. */
  port: z.int().min(1).max(65_535).optional(),
  /** It has no other blobs than these, but for those of the announcements that follow. */
  complete: z.boolean(),
  /** Whole, and their digests checked. */
  have: z.array(DigestText).max(PEER_PAGE_MAX),
  /** Deleted, or given up half-way. */
  gone: z.array(DigestText).max(PEER_PAGE_MAX),
});
export type PeerAnnouncement = z.infer<typeof PeerAnnouncement>;

/** A node begins to fetch a blob, or goes on after a source failed, and serves what it gets of it. */
export const PeerSearch = z.object({
  repository: z.string().refine(isRepository, "not a repository's name"),
  digest: DigestText,
  /** Nodes that it tried. */
  failed: z
    .array(
      z.object({
        nodeId: z.string().max(100),
        /** `wrong`: bytes of it were part of a blob with another digest. */
        why: z.enum(["unreachable", "wrong"]),
      }),
    )
    .max(64),
});
export type PeerSearch = z.infer<typeof PeerSearch>;

export const PeerAnswer = z.discriminatedUnion("kind", [
  z.object({
    kind: z.literal("node"),
    /** Also the name in its certificate. */
    nodeId: z.string(),
    address: z.string(),
    port: z.int().min(1).max(65_535),
    ticket: z.string().max(512),
  }),
  z.object({ kind: z.literal("store") }),
  /** Somebody fetches it from the store at this moment, and none who has some of it is free: ask again. */
  z.object({ kind: z.literal("wait"), waitMs: z.int().min(1).max(10_000) }),
]);
export type PeerAnswer = z.infer<typeof PeerAnswer>;

export const PeerCertificateRequest = z.object({
  /** SPKI of a P-256 key that the node made. */
  publicKeyPem: z.string().max(2048),
});
export type PeerCertificateRequest = z.infer<typeof PeerCertificateRequest>;

export const PeerCertificate = z.object({
  certificatePem: z.string(),
  /** Whoever signed it, and those of the other nodes. */
  caPem: z.string(),
  notAfter: z.iso.datetime(),
});
export type PeerCertificate = z.infer<typeof PeerCertificate>;
