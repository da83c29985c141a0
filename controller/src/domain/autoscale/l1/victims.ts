/** Rule 10: which processes go when a subscription shrinks, and which drains end when it grows again. */

export type Candidate = {
  readonly id: string;
  readonly nodeId: string;
  readonly inFlight: number;
  readonly cpuPercent: number;
  readonly createdAt: number;
  readonly protected: boolean;
};

/** Lowest in flight, then lowest processor use, then the one whose node has the fewest other processes (so that
 * nodes become empty), then the newest. Protected ones are skipped, so the answer may be shorter than `count`.
 *
 * @param processesOnNode all processes of each node, of whichever subscription */
export function chooseVictims(
  candidates: readonly Candidate[],
  count: number,
  processesOnNode: Readonly<Record<string, number>>,
): readonly string[] {
  const onNode: Record<string, number> = { ...processesOnNode };
  const open = candidates.filter((candidate) => !candidate.protected);
  const victims: string[] = [];
  while (victims.length < count) {
    let best = -1;
    for (let index = 0; index < open.length; index += 1) {
      const candidate = open[index];
      const leader = open[best];
      if (candidate === undefined) continue;
      if (leader === undefined || goesBefore(candidate, leader, onNode)) best = index;
    }
    const [victim] = best === -1 ? [] : open.splice(best, 1);
    if (victim === undefined) break;
    victims.push(victim.id);
    // Emptying one node goes on there: its count has just become smaller.
    onNode[victim.nodeId] = (onNode[victim.nodeId] ?? 1) - 1;
  }
  return victims;
}

function goesBefore(a: Candidate, b: Candidate, onNode: Readonly<Record<string, number>>): boolean {
  const order =
    a.inFlight - b.inFlight ||
    a.cpuPercent - b.cpuPercent ||
    (onNode[a.nodeId] ?? 0) - (onNode[b.nodeId] ?? 0) ||
    b.createdAt - a.createdAt;
  return order < 0 || (order === 0 && a.id < b.id);
}

export type Draining = { readonly id: string; readonly inFlight: number; readonly since: number };

/** A grow first takes back drains: those with most in flight, then those that began last. */
export function drainsToCancel(draining: readonly Draining[], grow: number): readonly string[] {
  return draining
    .toSorted((a, b) => b.inFlight - a.inFlight || b.since - a.since || (a.id < b.id ? -1 : 1))
    .slice(0, Math.max(0, grow))
    .map(({ id }) => id);
}
