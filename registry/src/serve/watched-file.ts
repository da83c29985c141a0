import { statSync } from "node:fs";

export type WatchedFile<Value> = {
  readonly value: () => Value;
  /** Reads again if the files changed since they were read. What cannot be read leaves the old value.
   * Gives whether there is a new one. @throws what `read` throws */
  readonly refresh: () => boolean;
};

/** A value made of files that somebody may replace while we run. @throws what `read` throws, the first time */
export function watchFiles<Value>(paths: readonly string[], read: () => Value): WatchedFile<Value> {
  let stamp = stampOf(paths);
  let value = read();
  return {
    value: () => value,
    refresh: () => {
      const now = stampOf(paths);
      if (now === stamp) return false;
      // Remembered also when it cannot be read: one complaint for each change is enough.
      stamp = now;
      value = read();
      return true;
    },
  };
}

function stampOf(paths: readonly string[]): string {
  return paths
    .map((path) => {
      const stat = statSync(path, { throwIfNoEntry: false });
      return stat === undefined ? "-" : `${stat.ino}:${stat.size}:${stat.mtimeMs}`;
    })
    .join(" ");
}
