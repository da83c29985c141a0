import { readOptionalFile } from "../durable-file.ts";

/** Ids from `first` on, `count` of them. */
export type IdRange = { readonly first: number; readonly count: number };

export type NamedRange = IdRange & { readonly holder: string };

/** Ids of this machine that somebody has: its users and groups, and the ranges that subuid(5) and subgid(5) give them.
 * Users of a directory service are not seen. */
export function readHeldIds(): readonly NamedRange[] {
  const read = (path: string): string => readOptionalFile(path) ?? "";
  return [
    ...parseSubordinateIds("/etc/subuid", read("/etc/subuid")),
    ...parseSubordinateIds("/etc/subgid", read("/etc/subgid")),
    ...parseOwnIds("user", read("/etc/passwd")),
    ...parseOwnIds("group", read("/etc/group")),
  ];
}

/** Lines `NAME:FIRST:COUNT`; others are skipped as newuidmap does. */
function parseSubordinateIds(path: string, text: string): readonly NamedRange[] {
  return text.split("\n").flatMap((line): readonly NamedRange[] => {
    const [, name, first, count] = /^([^:#]+):(\d{1,10}):(\d{1,10})$/.exec(line.trim()) ?? [];
    return name === undefined
      ? []
      : [{ holder: `${name} in ${path}`, first: Number(first), count: Number(count) }];
  });
}

/** Lines `NAME:PASSWORD:ID:…`. */
function parseOwnIds(kind: "user" | "group", text: string): readonly NamedRange[] {
  return text.split("\n").flatMap((line): readonly NamedRange[] => {
    const [, name, id] = /^([^:#]+):[^:]*:(\d{1,10}):/.exec(line) ?? [];
    return name === undefined ? [] : [{ holder: `${kind} ${name}`, first: Number(id), count: 1 }];
  });
}

/** Those that have ids of `range`. Pure. */
export function findOverlaps(range: IdRange, held: readonly NamedRange[]): readonly NamedRange[] {
  return held.filter(
    ({ first, count }) =>
      count > 0 && first < range.first + range.count && range.first < first + count,
  );
}

/** True when every id of the range exists here: a machine that is a container itself has some of its host's only. `map`
 * is the text of /proc/self/uid_map, lines of "inside outside count". Pure. */
export function isMapped({ first, count }: IdRange, map: string): boolean {
  return map.split("\n").some((line) => {
    const [inside, , size] = line.trim().split(/\s+/).map(Number);
    return (
      inside !== undefined &&
      size !== undefined &&
      inside <= first &&
      first + count <= inside + size
    );
  });
}
