import { MISSED_BEATS_UNTIL_AWAY } from "../domain/node.ts";
import { markAway } from "../operations/nodes.ts";
import { listNodes } from "../store/nodes.ts";
import { deleteExpiredJoinTokens } from "../store/tokens.ts";
import type { Store } from "../store/unit.ts";

export type ExpireOptions = {
  readonly store: Store;
  readonly silentMs: (nodeId: string) => number;
  readonly beatIntervalMs: () => number;
  readonly nowMs: () => number;
};

/** How long an expired join token can still be looked at. */
const JOIN_TOKEN_KEPT_MS = 24 * 3_600_000;

/** One tick: nodes that missed three beats are away, one transaction each; old join tokens go. */
export function expireNodes({ store, silentMs, beatIntervalMs, nowMs }: ExpireOptions): boolean {
  const patienceMs = MISSED_BEATS_UNTIL_AWAY * beatIntervalMs();
  for (const node of listNodes(store.sql)) {
    if (node.presence === "present" && silentMs(node.id) >= patienceMs)
      store.write((unit) => markAway(unit, node));
  }
  deleteExpiredJoinTokens(store.sql, new Date(nowMs() - JOIN_TOKEN_KEPT_MS).toISOString());
  return false;
}
