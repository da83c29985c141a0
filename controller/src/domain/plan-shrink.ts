/** Which processes go when there are too many, which finish first what they have, and which come back. Pure. */
import { type Candidate, chooseVictims, drainsToCancel } from "./autoscale/l1/victims.ts";
import {
  isBlocked,
  isOutdated,
  isServing,
  type PlannedProcess,
  type Wish,
} from "./planned-process.ts";

/** Victims of one plan: more go in the next, since choosing takes time with the square of their number. */
const VICTIMS_MAX = 1000;

/** Which `count` processes go first when there are too many: those that serve least, and among equals as level 1
 * chooses: by what they carry, and so that nodes become empty. */
export function planVictims(
  wish: Pick<Wish, "processesOnNode">,
  processes: readonly PlannedProcess[],
  count: number,
): readonly PlannedProcess[] {
  if (count <= 0) return [];
  const victims: PlannedProcess[] = [];
  // Counted only now: most plans have no victim.
  const onNode: Record<string, number> = { ...wish.processesOnNode };
  const wanted = Math.min(count, VICTIMS_MAX);
  const groups = Map.groupBy(processes, usefulness);
  for (const [, group] of [...groups].toSorted(([left], [right]) => left - right)) {
    if (victims.length >= wanted) break;
    const byId = new Map(group.map((one) => [one.id, one]));
    for (const id of chooseVictims(group.map(toCandidate), wanted - victims.length, onNode)) {
      const victim = byId.get(id);
      if (victim === undefined) continue;
      victims.push(victim);
      const { nodeId = "" } = victim;
      onNode[nodeId] = (onNode[nodeId] ?? 1) - 1;
    }
  }
  return victims;
}

function toCandidate({ id, nodeId, load, createdAt }: PlannedProcess): Candidate {
  return {
    id,
    nodeId: nodeId ?? "",
    inFlight: load.inFlight ?? 0,
    cpuPercent: load.cpuPercent,
    createdAt: Date.parse(createdAt),
    protected: false,
  };
}

/** Drains that a grow takes back before anything is created. */
export function keepDraining(
  wish: Wish,
  { draining, wanting }: { readonly draining: readonly PlannedProcess[]; readonly wanting: number },
): readonly PlannedProcess[] {
  const able = draining.filter(
    (one) => !isOutdated(wish, one) && one.whereabouts === "here" && isServing(one),
  );
  const back = new Set(
    drainsToCancel(
      able.map(({ id, load, drain: ours }) => ({
        id,
        inFlight: load.inFlight ?? 0,
        since: ours?.deadline ?? 0,
      })),
      wanting,
    ),
  );
  return able.filter(({ id }) => back.has(id));
}

/** Drains that are taken back because fewer would serve else than have to, whatever they are of: what was to replace
 * them has fallen ill. */
export function recallDraining(
  wish: Wish,
  { draining, others, kept }: Drains,
): readonly PlannedProcess[] {
  const elsewhere = others.filter(isServing).length + kept.length;
  // One gave way to what found no room, and is missing until that is up.
  const given = others.some(isBlocked) ? 1 : 0;
  const able = draining.filter((one) => isServing(one) && !kept.includes(one));
  return able.slice(0, Math.max(0, floorOf(wish) - given - elsewhere));
}

/** So many have to serve. */
function floorOf({ count, unavailable }: Pick<Wish, "count" | "unavailable">): number {
  return Math.max(0, count - unavailable);
}

type Drains = {
  readonly draining: readonly PlannedProcess[];
  /** Those that do not drain and are not about to go. */
  readonly others: readonly PlannedProcess[];
  readonly kept: readonly PlannedProcess[];
};

/** Drains that are over, but for those that serve while too few others do. */
export function endDrains(
  wish: Wish,
  { draining, others, kept, servingMin }: Drains & { readonly servingMin: number },
): readonly PlannedProcess[] {
  const elsewhere = others.filter(isServing).length + kept.length;
  const rest = draining.filter((one) => !kept.includes(one));
  const serving = rest.filter(isServing);
  const spare = Math.max(0, serving.length - Math.max(0, servingMin - elsewhere));
  const over = serving.filter(({ drain: ours }) => ours?.isOver === true || !wish.drains);
  return [...rest.filter((one) => !isServing(one)), ...over.slice(0, spare)];
}

/** Whether it is well, and may be asked something before it has gone, or has something in flight. */
export function mustDrain({ drains }: Wish, one: PlannedProcess): boolean {
  return drains && isServing(one) && (one.mayBeAsked || (one.load.inFlight ?? 0) > 0);
}

function usefulness(one: PlannedProcess): number {
  if (one.nodeId === undefined) return 0;
  if (one.whereabouts === "lost") return 1;
  if (isServing(one)) return 5;
  if (one.whereabouts === "away") return one.ready ? 4 : 2;
  return 3;
}
