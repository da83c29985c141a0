/** Sets, maps and chains of the agent's nft tables whose contents change while containers run: as data, so that what has
 * to change is computed, and one transaction changes it. */

/** A set, or a map where its elements have values. Elements are as nft writes them. */
export type NftSet = {
  readonly kind: "set" | "map";
  readonly type: string;
  /** Keys with their values; of a set the empty text. */
  readonly elements: ReadonlyMap<string, string>;
};

/** By family and name: `inet ports`. Both tables have the bridge's name. */
export type NftObjects = {
  readonly sets: ReadonlyMap<string, NftSet>;
  /** Of the family inet alone: the rules of each. */
  readonly chains: ReadonlyMap<string, readonly string[]>;
};

export const noObjects: NftObjects = { sets: new Map(), chains: new Map() };

/** What stands in the table of this family, for a ruleset that is loaded as a whole. Pure. */
export function renderObjects({ sets, chains }: NftObjects, family: "inet" | "bridge"): string {
  const lines: string[] = [];
  for (const [name, { kind, type, elements }] of sets) {
    const [of, own = ""] = name.split(" ");
    if (of !== family) continue;
    lines.push(`${kind} ${own} {\n    type ${type}\n    ${renderElements(elements)}\n  }`);
  }
  if (family === "inet") {
    for (const [name, rules] of chains)
      lines.push(`chain ${name} {\n    ${rules.join("\n    ")}\n  }`);
  }
  return lines.join("\n  ");
}

function renderElements(elements: ReadonlyMap<string, string>): string {
  return elements.size === 0 ? "" : `elements = { ${listElements(elements)} }`;
}

function listElements(elements: Iterable<readonly [string, string]>): string {
  return [...elements].map(([key, value]) => (value === "" ? key : `${key} : ${value}`)).join(", ");
}

/** The commands that make `after` of `before`, in an order in which nothing is referred to before it is there or after
 * it is gone. Empty where nothing differs. Pure. */
export function renderChange(table: string, before: NftObjects, after: NftObjects): string {
  const added: string[] = [];
  const taken: string[] = [];
  const given: string[] = [];
  const removed: string[] = [];
  changeSets(before, after, (name, change) => {
    const [family = "", own = ""] = name.split(" ");
    const at = `${family} ${table} ${own}`;
    if (change.made !== undefined) {
      added.push(`add ${change.made.kind} ${at} { type ${change.made.type}; }`);
    }
    if (change.taken.length > 0) taken.push(`delete element ${at} { ${change.taken.join(", ")} }`);
    if (change.given.length > 0) given.push(`add element ${at} { ${listElements(change.given)} }`);
    if (change.isGone) removed.push(`delete set ${at}`);
  });
  const flushed: string[] = [];
  const ruled: string[] = [];
  for (const [name, rules] of after.chains) {
    const had = before.chains.get(name);
    if (had === rules || (had !== undefined && had.join("\n") === rules.join("\n"))) continue;
    (had === undefined ? added : flushed).push(
      `${had === undefined ? "add" : "flush"} chain inet ${table} ${name}`,
    );
    for (const rule of rules) ruled.push(`add rule inet ${table} ${name} ${rule}`);
  }
  for (const name of before.chains.keys()) {
    if (after.chains.has(name)) continue;
    flushed.push(`flush chain inet ${table} ${name}`);
    // Chains go before the sets that they asked.
    removed.unshift(`delete chain inet ${table} ${name}`);
  }
  const lines = [...added, ...taken, ...flushed, ...ruled, ...given, ...removed];
  return lines.map((line) => `${line}\n`).join("");
}

type SetChange = {
  /** Undefined when it is there already. */
  readonly made: NftSet | undefined;
  readonly taken: readonly string[];
  readonly given: readonly (readonly [string, string])[];
  readonly isGone: boolean;
};

function changeSets(
  before: NftObjects,
  after: NftObjects,
  visit: (name: string, change: SetChange) => void,
): void {
  for (const [name, set] of after.sets) {
    const had = before.sets.get(name);
    if (had?.elements === set.elements) continue;
    const taken = [...(had?.elements ?? [])].flatMap(([key, value]) =>
      set.elements.get(key) === value ? [] : [key],
    );
    const given = [...set.elements].filter(([key, value]) => had?.elements.get(key) !== value);
    visit(name, { made: had === undefined ? set : undefined, taken, given, isGone: false });
  }
  for (const [name, { elements }] of before.sets) {
    if (after.sets.has(name)) continue;
    visit(name, { made: undefined, taken: [...elements.keys()], given: [], isGone: true });
  }
}
