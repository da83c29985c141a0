/** JSON with sorted keys and without undefined fields. */
function canonicalJson(value: unknown): string {
  return JSON.stringify(value, (_key, nested: unknown) =>
    isRecord(nested) ? Object.fromEntries(Object.entries(nested).sort(byKey)) : nested,
  );
}

/** Whether two values are the same JSON. A field that is undefined is none. */
export function isSame(left: unknown, right: unknown): boolean {
  if (left === right) return true;
  if (Array.isArray(left))
    return (
      Array.isArray(right) &&
      left.length === right.length &&
      left.every((item, index) => isSame(item, right[index]))
    );
  if (!isRecord(left) || !isRecord(right)) return false;
  for (const key of Object.keys(left))
    if (!isSame(left[key], Object.hasOwn(right, key) ? right[key] : undefined)) return false;
  for (const key of Object.keys(right))
    if (right[key] !== undefined && !Object.hasOwn(left, key)) return false;
  return true;
}

/** One line for each field that differs: `processes: 1 -> 3`. What is absent, null or empty is all the same. */
export function describeChanges(before: object, after: object): readonly string[] {
  const old = new Map(Object.entries(before));
  const now = new Map(Object.entries(after));
  return [...new Set([...old.keys(), ...now.keys()])]
    .filter((key) => !isSame(orNull(old.get(key)), orNull(now.get(key))))
    .map((key) => `${key}: ${show(old.get(key))} -> ${show(now.get(key))}`);
}

function show(value: unknown): string {
  return typeof value === "string" ? value : canonicalJson(value ?? null);
}

function orNull(value: unknown): unknown {
  if (value === undefined || value === "") return null;
  return typeof value === "object" && canonicalJson(value).length === 2 ? null : value;
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function byKey([left]: readonly [string, unknown], [right]: readonly [string, unknown]): number {
  return left < right ? -1 : 1;
}
