import { closeSync, fsyncSync, openSync, statSync, truncateSync, writeSync } from "node:fs";

import { isDiskFull } from "../../disk-full.ts";

/** Space set aside, so that a full disk does not keep anyone from making room. */
export type Reserve = {
  /** Runs a removal; when the disk is full, gives up the reserve and runs it again. */
  readonly spendOn: <Result>(removal: () => Result) => Result;
  /** Sets the space aside again, if there is any. */
  readonly refill: () => void;
};

/** Some hundred removals, until blobs that they free are gone. */
const RESERVE_BYTES = 1024 * 1024;

/** For a database in memory. */
export const noReserve: Reserve = { spendOn: (removal) => removal(), refill: () => undefined };

export function createReserve(path: string): Reserve {
  let held = fill(path);
  const refill = (): void => {
    if (!held) held = fill(path);
  };
  return {
    refill,
    spendOn: (removal) => {
      try {
        return removal();
      } catch (error) {
        if (!held || !isDiskFull(error)) throw error;
        truncateSync(path, 0);
        held = false;
        return removal();
      }
    },
  };
}

/** False, and no space taken, when there is not enough. */
function fill(path: string): boolean {
  const file = openSync(path, "a", 0o600);
  try {
    const missing = RESERVE_BYTES - statSync(path).size;
    // Bytes that are not zero, and synced: some file systems give space no earlier.
    if (missing > 0) {
      if (writeSync(file, Buffer.alloc(missing, 1)) < missing) {
        truncateSync(path, 0);
        return false;
      }
      fsyncSync(file);
    }
    return true;
  } catch (error) {
    if (!isDiskFull(error)) throw error;
    truncateSync(path, 0);
    return false;
  } finally {
    closeSync(file);
  }
}
