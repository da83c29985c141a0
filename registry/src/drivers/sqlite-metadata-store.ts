import { dirname, join } from "node:path";

import type { MetadataStore } from "../metadata-store.ts";
import { createBlobIndex } from "./sqlite/blob-index.ts";
import { openDatabase, type RegistryDatabase } from "./sqlite/database.ts";
import { createGarbageIndex } from "./sqlite/garbage-index.ts";
import { type Journal, openJournal } from "./sqlite/journal.ts";
import { createManifestIndex } from "./sqlite/manifest-index.ts";
import { noRecorder, type Recorder, type Recovery, startRecorder } from "./sqlite/recorder.ts";
import { createReserve, noReserve } from "./sqlite/reserve.ts";
import { createScrubIndex } from "./sqlite/scrub-index.ts";
import { createUploadIndex } from "./sqlite/upload-index.ts";
import { createUsageIndex } from "./sqlite/usage-index.ts";

export type SqliteMetadataOptions = {
  /** How long to wait for another process that is on its way out [5 s]. */
  readonly busyTimeoutMs?: number;
  /** Called at the start when database and journal were not at the same point, and now are. */
  readonly onRecovered?: (recovery: Recovery) => void;
};

export type SqliteMetadataStore = MetadataStore & {
  /** Copies all of it to a new file, a few pages at a time, while it is used. What was stored before the call is in
   * the copy. @throws SQLITE_FULL when the disk is full */
  readonly copyTo: (file: string) => Promise<void>;
};

/** Metadata in one SQLite file, or in memory for `:memory:`. One owner at a time. Beside the file is a journal, from
 * which a lost or outdated database is made anew when it is opened.
 * @throws RegistryError INTERNAL when a newer version wrote the file, another process still has it after
 * `busyTimeoutMs`, or it is damaged */
export function createSqliteMetadataStore(
  path: string,
  options: SqliteMetadataOptions = {},
): SqliteMetadataStore {
  const { database, copyTo, close } = openDatabase(path, options);
  const journal = path === ":memory:" ? undefined : openJournalBeside(path, close);
  const reserve = journal === undefined ? noReserve : createReserve(`${path}.reserve`);
  const recorder =
    journal === undefined ? noRecorder : start({ database, journal, close }, options);
  return {
    ...createBlobIndex(database, recorder, reserve),
    ...createUploadIndex(database, reserve),
    ...createManifestIndex(database, recorder, reserve),
    ...createGarbageIndex(database, recorder, reserve),
    ...createUsageIndex(database),
    ...createScrubIndex(database),
    copyTo,
    compact: async () => {
      recorder.compact();
      reserve.refill();
    },
    close: () => {
      journal?.close();
      close();
    },
  };
}

function openJournalBeside(path: string, close: () => void): Journal {
  try {
    return openJournal(join(dirname(path), "journal.ndjson"));
  } catch (error) {
    close();
    throw error;
  }
}

type Opened = {
  readonly database: RegistryDatabase;
  readonly journal: Journal;
  readonly close: () => void;
};

function start({ database, journal, close }: Opened, options: SqliteMetadataOptions): Recorder {
  try {
    const { recorder, recovery } = startRecorder(database, journal);
    if (recovery.replayed > 0 || recovery.damaged > 0) options.onRecovered?.(recovery);
    return recorder;
  } catch (error) {
    journal.close();
    close();
    throw error;
  }
}
