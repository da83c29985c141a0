/** Values with the revision of their last change: what is newer than a revision is found without a look at all. */
export type ChangeLog<Value> = {
  readonly get: (id: string) => Value | undefined;
  readonly put: (id: string, value: Value, revision: number) => void;
  readonly remove: (id: string, revision: number) => void;
  readonly newerThan: (revision: number) => { changed: Value[]; removed: string[] };
  /** Who knows less than this revision knows too little for a difference. */
  readonly floor: () => number;
};

/** Removed ids that are remembered. */
const REMOVED_MAX = 10_000;
/** Lines that are of no use any more, before they are cleared away. */
const STALE_LINES_MAX = 10_000;

type Line<Value> = {
  readonly id: string;
  /** Undefined: it was removed. */
  readonly value: Value | undefined;
  readonly revision: number;
};

export function createChangeLog<Value>(): ChangeLog<Value> {
  const newest = new Map<string, Line<Value>>();
  let removed = 0;
  let floor = 0;
  let lines: Line<Value>[] = [];
  const write = (line: Line<Value>): void => {
    const before = newest.get(line.id);
    if (before !== undefined && before.value === undefined) removed -= 1;
    if (line.value === undefined) removed += 1;
    newest.set(line.id, line);
    lines.push(line);
    if (removed <= REMOVED_MAX && lines.length <= newest.size + STALE_LINES_MAX) return;
    lines = lines.filter((old) => newest.get(old.id) === old);
    for (const old of lines.filter(({ value }) => value === undefined)) {
      // Half of them, so that this is not done again for the next one.
      if (removed <= REMOVED_MAX / 2) break;
      newest.delete(old.id);
      floor = old.revision;
      removed -= 1;
    }
    lines = lines.filter((old) => newest.get(old.id) === old);
  };
  return {
    get: (id) => newest.get(id)?.value,
    put: (id, value, revision) => write({ id, value, revision }),
    remove: (id, revision) => write({ id, value: undefined, revision }),
    floor: () => floor,
    newerThan: (revision) => {
      const changed: Value[] = [];
      const gone: string[] = [];
      for (let index = lines.length - 1; index >= 0; index -= 1) {
        const line = lines[index];
        if (line === undefined || line.revision <= revision) break;
        if (newest.get(line.id) !== line) continue;
        if (line.value === undefined) gone.push(line.id);
        else changed.push(line.value);
      }
      return { changed: changed.toReversed(), removed: gone.toReversed() };
    },
  };
}
