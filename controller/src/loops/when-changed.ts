import type { Sql } from "../store/database.ts";

export type WhenChangedOptions = {
  readonly sql: Sql;
  readonly monotonicMs: () => number;
  /** It looks again after so long though nothing has changed: time itself changes some things. */
  readonly restMsMax: number;
};

/** A look at everything that rests while what is kept in memory of the database is as it was at the last one. */
export function whenChanged(
  look: () => void,
  { sql, monotonicMs, restMsMax }: WhenChangedOptions,
): () => void {
  let seen: number | undefined;
  let lookedAtMs = -Infinity;
  return () => {
    const changes = sql.kept?.read()?.changes();
    const now = monotonicMs();
    if (changes !== undefined && changes === seen && now - lookedAtMs < restMsMax) return;
    look();
    seen = changes;
    lookedAtMs = now;
  };
}
