/** Subscriptions that wait for others of their tenant before they begin. Pure. */
import type { Problem } from "./process.ts";

/** A subscription as those that name it see it. */
export type Dependency = {
  readonly alias: string;
  /** Processes; undefined where there is no such subscription. */
  readonly seen: { readonly wished: number; readonly ready: number } | undefined;
};

/** Why the first process of a subscription has to wait; undefined when every dependency has all the processes that are
 * wished of it ready, and at least one. */
export function findUnready(dependencies: readonly Dependency[]): Problem | undefined {
  const reasons = dependencies.flatMap(({ alias, seen }) => {
    if (seen === undefined) return [`there is no subscription ${alias}`];
    if (seen.wished === 0) return [`${alias} has no processes to run`];
    return seen.ready < seen.wished
      ? [`${seen.ready} of ${seen.wished} processes of ${alias} are ready`]
      : [];
  });
  return reasons.length === 0
    ? undefined
    : { code: "DEPENDENCY_NOT_READY", message: `it waits to begin: ${reasons.join("; ")}` };
}

/** A way from the alias back to itself, both ends included; undefined where there is none. Takes time with the number
 * of steps that there are, each once. */
export function findCycle(
  from: string,
  next: (alias: string) => readonly string[],
): readonly string[] | undefined {
  const cameFrom = new Map<string, string>();
  const open = [from];
  for (let alias = open.pop(); alias !== undefined; alias = open.pop()) {
    for (const named of next(alias)) {
      if (named === from) return [...wayTo(alias, { from, cameFrom }), from];
      if (cameFrom.has(named)) continue;
      cameFrom.set(named, alias);
      open.push(named);
    }
  }
  return undefined;
}

function wayTo(
  alias: string,
  { from, cameFrom }: { readonly from: string; readonly cameFrom: ReadonlyMap<string, string> },
): readonly string[] {
  const way = [alias];
  for (
    let before = alias === from ? undefined : cameFrom.get(alias);
    before !== undefined;
    before = before === from ? undefined : cameFrom.get(before)
  )
    way.unshift(before);
  return way;
}
