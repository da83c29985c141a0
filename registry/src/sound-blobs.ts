import type { Digest } from "@strata/protocol/oci/digest";

import type { LocalFile } from "./blob-store.ts";

/** Which files were found to hash to their digest lately. A blob that many nodes pull at once is then hashed for the
 * first of them only; a file that was touched since, in whatever way, is hashed again. */
export type SoundBlobs = {
  readonly has: (digest: Digest, file: LocalFile | undefined) => boolean;
  /** `file` is as it was before its first byte was hashed, and `since` when that was. */
  readonly add: (digest: Digest, file: LocalFile | undefined, since: number) => void;
};

/** A disk may lose what memory still has: after this it is looked at again. */
const TRUSTED_MS = 10 * 60_000;
/** Kernels count changes in ticks of up to 10 ms; a file that changed so lately may change again unseen. */
const UNSETTLED_MS = 100;
const ENTRIES_MAX = 10_000;

export function createSoundBlobs(clock: () => number): SoundBlobs {
  const found = new Map<Digest, { readonly version: string; readonly at: number }>();
  return {
    has: (digest, file) => {
      const entry = found.get(digest);
      if (entry === undefined || entry.version !== file?.version) return false;
      // A clock that was set back makes nothing last longer.
      return Math.abs(clock() - entry.at) < TRUSTED_MS;
    },
    add: (digest, file, since) => {
      if (file === undefined || since - file.changedAt < UNSETTLED_MS) return;
      found.delete(digest);
      found.set(digest, { version: file.version, at: clock() });
      const [oldest] = found.keys();
      if (found.size > ENTRIES_MAX && oldest !== undefined) found.delete(oldest);
    },
  };
}
