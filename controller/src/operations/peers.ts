import { derivePeerKey, PEER_TICKET_MS, signPeerTicket } from "@strata/protocol/agent/peer-ticket";
import type { PeerAnswer, PeerSearch } from "@strata/protocol/agent/peers";

import { beatIntervalMs, MISSED_BEATS_UNTIL_AWAY } from "../domain/node.ts";
import type { PeerBook } from "../domain/peer-book.ts";
import type { PresenceBook } from "../domain/presence.ts";
import type { Sql } from "../store/database.ts";
import { countNodes, getNode, type NodeRow } from "../store/nodes.ts";

export type PeerFinder = {
  readonly sql: Sql;
  readonly peers: PeerBook;
  readonly presence: PresenceBook;
  readonly reportsPerSecond: number;
  /** Of the system clock and of one that never jumps. */
  readonly nowMs: number;
  readonly monotonicMs: number;
};

/** Where a node takes a blob from, with the ticket that opens the door there. */
export function findPeer(
  { sql, peers, presence, reportsPerSecond, nowMs, monotonicMs }: PeerFinder,
  { id: nodeId, partition }: Pick<NodeRow, "id" | "partition">,
  { repository, digest, failed }: PeerSearch,
): PeerAnswer {
  const awayAfterMs = MISSED_BEATS_UNTIL_AWAY * beatIntervalMs(countNodes(sql), reportsPerSecond);
  const found = peers.find({
    nodeId,
    partition,
    digest,
    failed,
    nowMs: monotonicMs,
    isPresent: (id) => presence.silentMs(id, monotonicMs) < awayAfterMs,
  });
  if (found.kind !== "node") return found;
  const peer = getNode(sql, found.nodeId);
  if (peer === undefined) return { kind: "store" };
  const key = derivePeerKey(peer.credentialHash);
  const claim = { nodeId: peer.id, repository, digest };
  return {
    ...found,
    address: peer.address,
    ticket: signPeerTicket(key, claim, Math.round(nowMs) + PEER_TICKET_MS),
  };
}
