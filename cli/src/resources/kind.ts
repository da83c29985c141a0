/** What the generic commands (`get`, `describe`, `delete`) know of a kind of resource. */
export type Kind = {
  /** As `apply` writes it. */
  readonly kind: string;
  /** Everything that a person may call it; the first is the plural. */
  readonly names: readonly string[];
  /** Of the list; one is at `path/name`. */
  readonly path: string;
  /** Events about it have types that begin so: `scaling-policy`. */
  readonly eventPrefix: string;
  /** Takes `?tenant=`. */
  readonly isTenanted: boolean;
  /** The list is the only way to see one of them. */
  readonly isListOnly: boolean;
  readonly columns: readonly ColumnOf<object>[];
  readonly nameOf: (item: object) => string;
};

export type ColumnOf<Item> = {
  readonly title: string;
  readonly cell: (item: Item, now: number) => string;
  /** Shown by `-o wide` alone. */
  readonly isWide?: boolean;
};

type KindSpec<Item> = Pick<Kind, "kind" | "names" | "path"> & {
  readonly isTenanted?: boolean;
  readonly isListOnly?: boolean;
  readonly columns: readonly ColumnOf<Item>[];
  readonly nameOf: (item: Item) => string;
};

/** A kind whose items have this type, for the table where all kinds stand together. */
export function defineKind<Item extends object>(spec: KindSpec<Item>): Kind {
  // The list of a kind's own path holds items of that kind.
  const parseItem = (item: object): Item => item as Item;
  return {
    isTenanted: false,
    isListOnly: false,
    ...spec,
    eventPrefix: spec.kind.replaceAll(/(?<=.)[A-Z]/g, "-$&").toLowerCase(),
    nameOf: (item) => spec.nameOf(parseItem(item)),
    columns: spec.columns.map((column) => ({
      ...column,
      cell: (item: object, now: number) => column.cell(parseItem(item), now),
    })),
  };
}
