/** Who has been heard, and when, by a clock that never jumps. Kept in memory: after a start every node counts as heard
 * just now, and nobody is found silent during the first minute (agent-protocol.md, rule 4). */
export type PresenceBook = {
  readonly heard: (nodeId: string, atMs: number) => void;
  /** How long the node has been silent; 0 while the timers of a fresh start are held. */
  readonly silentMs: (nodeId: string, nowMs: number) => number;
  /** When it was heard last; undefined for a node that was not heard since the start. */
  readonly heardAtMs: (nodeId: string) => number | undefined;
  readonly forget: (nodeId: string) => void;
};

export const START_GRACE_MS = 60_000;

export function createPresenceBook(
  startedAtMs: number,
  graceMs: number = START_GRACE_MS,
): PresenceBook {
  const heardAt = new Map<string, number>();
  return {
    heard: (nodeId, atMs) => void heardAt.set(nodeId, atMs),
    silentMs: (nodeId, nowMs) =>
      nowMs - startedAtMs < graceMs ? 0 : nowMs - (heardAt.get(nodeId) ?? startedAtMs),
    heardAtMs: (nodeId) => heardAt.get(nodeId),
    forget: (nodeId) => void heardAt.delete(nodeId),
  };
}
