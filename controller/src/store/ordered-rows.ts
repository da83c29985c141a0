/** Rows in an order that is made when somebody asks: most changes replace a row and leave its place. Pure. */
export type OrderedRows<Row extends { readonly id: string }> = {
  readonly get: (id: string) => Row | undefined;
  readonly size: () => number;
  /** The same array as long as nothing has changed. */
  readonly all: () => readonly Row[];
  readonly put: (row: Row) => void;
  readonly drop: (id: string) => void;
};

/** `compare` gives 0 for two versions of one row alone. */
export function createOrderedRows<Row extends { readonly id: string }>(
  compare: (left: Row, right: Row) => number,
): OrderedRows<Row> {
  const rows = new Map<string, Row>();
  /** Not in `ordered`, or no longer where they belong. */
  const added = new Set<string>();
  let ordered: readonly Row[] = [];
  let isStale = false;
  const order = (): readonly Row[] => {
    const kept: Row[] = [];
    for (const { id } of ordered) {
      const row = rows.get(id);
      if (row !== undefined && !added.has(id)) kept.push(row);
    }
    if (added.size === 0) return kept;
    const fresh = [...added].flatMap((id) => rows.get(id) ?? []).toSorted(compare);
    const [last, first] = [kept.at(-1), fresh[0]];
    const isInOrder = last === undefined || first === undefined || compare(last, first) < 0;
    const all = [...kept, ...fresh];
    return isInOrder ? all : all.toSorted(compare);
  };
  return {
    get: (id) => rows.get(id),
    size: () => rows.size,
    all: () => {
      if (!isStale) return ordered;
      ordered = order();
      added.clear();
      isStale = false;
      return ordered;
    },
    put: (row) => {
      const before = rows.get(row.id);
      if (before === undefined || compare(before, row) !== 0) added.add(row.id);
      rows.set(row.id, row);
      isStale = true;
    },
    drop: (id) => {
      if (!rows.delete(id)) return;
      added.delete(id);
      isStale = true;
    },
  };
}
