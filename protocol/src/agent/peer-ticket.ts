/** What lets a node fetch one blob from another: made by the controller, checked by the node that serves, without a word
 * between the two. Both know a key that comes from what the controller keeps of that node's credential. */
import { createHmac, hkdfSync, timingSafeEqual } from "node:crypto";

import type { Digest } from "../oci/digest.ts";

export const PEER_TICKET_MS = 10 * 60_000;

export type PeerClaim = {
  /** The one that serves. */
  readonly nodeId: string;
  readonly repository: string;
  readonly digest: Digest;
};

/** `secretHash`: SHA-256 of the credential's secret, hexadecimal. */
export function derivePeerKey(secretHash: string): Buffer {
  return Buffer.from(
    hkdfSync("sha256", Buffer.from(secretHash, "hex"), "", "strata peer tickets", 32),
  );
}

export function signPeerTicket(key: Buffer, claim: PeerClaim, expiresAtMs: number): string {
  return `${expiresAtMs}.${macOf(key, claim, expiresAtMs).toString("base64url")}`;
}

/** In constant time, as far as the key is concerned. */
export function isPeerTicketGood(
  key: Buffer,
  claim: PeerClaim,
  { ticket, nowMs }: { readonly ticket: string; readonly nowMs: number },
): boolean {
  const [, expiry = "", mac = ""] = /^(\d{1,15})\.([A-Za-z0-9_-]{43})$/.exec(ticket) ?? [];
  const given = Buffer.from(mac, "base64url");
  const known = macOf(key, claim, Number(expiry));
  const isOurs = given.length === known.length && timingSafeEqual(given, known);
  return isOurs && Number(expiry) > nowMs;
}

function macOf(
  key: Buffer,
  { nodeId, repository, digest }: PeerClaim,
  expiresAtMs: number,
): Buffer {
  // As JSON, so that no two claims are one text.
  return createHmac("sha256", key)
    .update(JSON.stringify([nodeId, repository, digest, expiresAtMs]))
    .digest();
}
