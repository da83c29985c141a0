import { MISSED_BEATS_UNTIL_AWAY } from "../domain/node.ts";
import { planUpgrades } from "../domain/upgrade.ts";
import { markAway } from "../operations/nodes.ts";
import { advanceUpgrades } from "../operations/upgrades.ts";
import { listNodes, type NodeRow, updateNode } from "../store/nodes.ts";
import { deleteExpiredJoinTokens } from "../store/tokens.ts";
import type { Store } from "../store/unit.ts";

export type ExpireOptions = {
  readonly store: Store;
  readonly silentMs: (nodeId: string) => number;
  /** Of its last report, by the clock on the wall; undefined when there was none since the start. */
  readonly lastSeenMs: (nodeId: string) => number | undefined;
  readonly beatIntervalMs: () => number;
  /** Whether the mass-loss breaker holds replacements back. */
  readonly isHeld: () => boolean;
  readonly nowMs: () => number;
};

/** The time of a node's last report is written this often, for so many nodes in one tick. */
const LAST_SEEN_EVERY_MS = 30_000;
const LAST_SEEN_MAX = 200;
/** How long an expired join token can still be looked at. */
const JOIN_TOKEN_KEPT_MS = 24 * 3_600_000;

/** Makes the tick: nodes that missed three beats are away, one transaction each; when the others were
 * seen is written down; whether that is a mass loss is said when it begins and when it ends; old join tokens go. */
export function createExpireNodes(options: ExpireOptions): () => void {
  const { store, silentMs, beatIntervalMs, isHeld, nowMs } = options;
  let wasHeld = false;
  return () => {
    const patienceMs = MISSED_BEATS_UNTIL_AWAY * beatIntervalMs();
    const nodes = listNodes(store.sql);
    for (const node of nodes) {
      if (node.presence === "present" && silentMs(node.id) >= patienceMs)
        store.write((unit) => markAway(unit, node));
    }
    writeLastSeen(options, nodes);
    if (planUpgrades(nodes, nowMs()).length > 0) store.write(advanceUpgrades);
    deleteExpiredJoinTokens(store.sql, new Date(nowMs() - JOIN_TOKEN_KEPT_MS).toISOString());
    const held = isHeld();
    if (held !== wasHeld) announce(store, held);
    wasHeld = held;
  };
}

function writeLastSeen({ store, lastSeenMs }: ExpireOptions, nodes: readonly NodeRow[]): void {
  const due = nodes.flatMap(({ id, lastSeenAt }) => {
    const seenMs = lastSeenMs(id);
    // The first report of a node is written when it comes.
    if (seenMs === undefined || lastSeenAt === null) return [];
    return seenMs - Date.parse(lastSeenAt) >= LAST_SEEN_EVERY_MS ? [{ id, seenMs }] : [];
  });
  if (due.length === 0) return;
  store.write((unit) => {
    for (const { id, seenMs } of due.slice(0, LAST_SEEN_MAX))
      updateNode(unit.sql, id, { lastSeenAt: new Date(seenMs).toISOString() });
  });
}

function announce(store: Store, held: boolean): void {
  store.write((unit) => {
    unit.emit({
      type: held ? "controller.holding" : "controller.resumed",
      subject: "controller",
      message: held
        ? "too many nodes fell silent at once: replacements are held back until they return or are deleted"
        : "lost processes are replaced again",
    });
  });
}
