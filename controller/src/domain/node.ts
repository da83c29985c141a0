/** What an operator lets a node do. `cordoned` takes no new process; `draining` also gives away those that it has. */
export type Admission = "open" | "cordoned" | "draining";

/** What is heard from a node. `away` after three missed beats. */
export type Presence = "present" | "away";

export const MISSED_BEATS_UNTIL_AWAY = 3;

/** From the first missed beat of a node until what runs there is replaced. */
export function lossPatienceMs(lostAfterMs: number, beatMs: number): number {
  return Math.max(lostAfterMs, MISSED_BEATS_UNTIL_AWAY * beatMs);
}

/** How often a node reports: rarely enough that all of them together stay below `reportsPerSecond`. */
export function beatIntervalMs(nodeCount: number, reportsPerSecond: number): number {
  return Math.max(5000, Math.ceil((nodeCount * 1000) / reportsPerSecond));
}

/** How often a node reports whose processes are sampled: four times in an interval, so that a new load is seen in
 * time, but all such nodes together stay below half of `reportsPerSecond`. */
export function sampleBeatMs({
  sampleIntervalMs,
  nodes,
  reportsPerSecond,
}: {
  readonly sampleIntervalMs: number;
  readonly nodes: number;
  readonly reportsPerSecond: number;
}): number {
  return Math.max(
    SAMPLE_BEAT_MS_MIN,
    Math.floor(sampleIntervalMs / 4),
    Math.ceil((nodes * 2000) / reportsPerSecond),
  );
}

const SAMPLE_BEAT_MS_MIN = 250;

export function nodeState(node: {
  readonly presence: Presence;
  readonly admission: Admission;
}): "ready" | "cordoned" | "draining" | "away" {
  if (node.presence === "away") return "away";
  return node.admission === "open" ? "ready" : node.admission;
}

/** Why a node is not simply ready, for people; null when there is nothing to say. */
export function nodeMessage(
  node: {
    readonly presence: Presence;
    readonly admission: Admission;
    readonly awaySince: string | null;
    readonly drainDeadline: string | null;
  },
  { processes, isHeld }: { readonly processes: number; readonly isHeld: boolean },
): string | null {
  const { presence, admission, awaySince, drainDeadline } = node;
  if (presence === "away") {
    const since = `silent since ${awaySince ?? "its joining"}`;
    return isHeld
      ? `${since}; so many nodes are that the fault is taken for the controller's: nothing is replaced`
      : `${since}; its processes may well run, and are replaced when their time is over`;
  }
  if (admission !== "draining") return null;
  const end = drainDeadline === null ? "" : `; what is left at ${drainDeadline} is stopped`;
  return processes === 0 ? "empty: it can be deleted" : `${processes} processes are left${end}`;
}

/** Whether so many nodes went silent at about the same time that the fault is more likely on the controller's side:
 * more than 45 % of all, and more than three (agent-protocol.md, rule 7). Nodes lost longer ago than `windowMs` before
 * the last loss are old news and count neither way. */
export function isMassLoss(
  nodes: readonly { readonly silentMs: number; readonly away: boolean }[],
): boolean {
  const windowMs = 5 * 60_000;
  const away = nodes.filter((node) => node.away).map((node) => node.silentMs);
  const latest = Math.min(...away);
  const wave = away.filter((silentMs) => silentMs <= latest + windowMs).length;
  const present = nodes.length - away.length;
  return wave > 3 && wave / (wave + present) > 0.45;
}
