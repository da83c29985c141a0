import { type Placeholder, sql as raw } from "drizzle-orm";

import type { Sql } from "./database.ts";

/** Statements of one kind; each is told from the others by its key. */
const STATEMENTS_MAX = 500;

/** Has a statement built and compiled once for each database rather than at each call: for those that run thousands of
 * times a second. It runs in whatever transaction is open; `compile` gets the database itself. */
export function keepStatements<Statement>(
  compile: (sql: Sql, key: string) => Statement,
): (sql: Sql, key?: string) => Statement {
  const ofDatabase = new WeakMap<Sql, Map<string, Statement>>();
  return (sql, key = "") => {
    const database = sql.database ?? sql;
    const kept = ofDatabase.get(database) ?? new Map<string, Statement>();
    ofDatabase.set(database, kept);
    const known = kept.get(key);
    if (known !== undefined) return known;
    if (kept.size >= STATEMENTS_MAX) kept.clear();
    const statement = compile(database, key);
    kept.set(key, statement);
    return statement;
  };
}

/** Names a change by its columns, for a statement that is kept for it; one that becomes null is written `name=`. */
export function updateKey(change: object): string {
  let key = "";
  for (const [name, value] of Object.entries(change))
    if (value !== undefined) key += value === null ? `${name}= ` : `${name} `;
  return key.trimEnd();
}

/** What a statement with this key sets. */
export function placeholdersOf(key: string): Readonly<Record<string, Placeholder | null>> {
  return Object.fromEntries(
    key
      .split(" ")
      .map((name) =>
        name.endsWith("=") ? [name.slice(0, -1), null] : [name, raw.placeholder(name)],
      ),
  );
}
