/** What was looked at and found as it should be, so that it is not looked at again before something of it changes or
 * its time comes. Pure. */
export type Agenda = {
  /** Whether any of its facts is another than when it was settled, or its time has come. */
  readonly isDue: (id: string, look: { readonly facts: Facts; readonly nowMs: number }) => boolean;
  /** Nothing is to be done until a fact changes, and at most until `untilMs`. */
  readonly settle: (id: string, until: Settled) => void;
  /** Forgets all others. */
  readonly keepOnly: (ids: ReadonlySet<string>) => void;
};

/** Compared one by one: what is the same object or value has not changed. */
export type Facts = readonly unknown[];

type Settled = { readonly facts: Facts; readonly fromMs: number; readonly untilMs: number };

export function createAgenda(): Agenda {
  const settled = new Map<string, Settled>();
  return {
    isDue: (id, { facts, nowMs }) => {
      const known = settled.get(id);
      // A clock that was set back tells nothing of how long ago that was.
      if (known === undefined || nowMs >= known.untilMs || nowMs < known.fromMs) return true;
      return facts.some((fact, index) => fact !== known.facts[index]);
    },
    settle: (id, until) => void settled.set(id, until),
    keepOnly: (ids) => {
      if (settled.size <= ids.size) return;
      for (const id of settled.keys()) if (!ids.has(id)) settled.delete(id);
    },
  };
}
