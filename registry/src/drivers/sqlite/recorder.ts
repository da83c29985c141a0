import { eq } from "drizzle-orm";

import { applyChange, type Change, describeAll } from "./changes.ts";
import type { RegistryDatabase, Transaction } from "./database.ts";
import type { Journal, JournalLine } from "./journal.ts";
import { progress } from "./schema.ts";

/** What was done at the start to bring database and journal to the same point. */
export type Recovery = {
  /** Lines of the journal that the database had lost. */
  readonly replayed: number;
  /** Lines that could not be read; the file is kept beside the new one. */
  readonly damaged: number;
};

/** Writes each change to the journal, in the transaction that makes it. */
export type Recorder = {
  readonly record: (transaction: Transaction, changes: readonly Change[]) => void;
  /** Writes the journal anew when most of it is history. */
  readonly compact: () => void;
};

const TASK = "journal";
const REPLAY_BATCH = 500;
/** Changes in one line of a snapshot. */
const SNAPSHOT_BATCH = 50;
/** Shorter journals are not worth the work. */
const COMPACT_BYTES = 16 * 1024 * 1024;

/** For a database in memory. */
export const noRecorder: Recorder = { record: () => undefined, compact: () => undefined };

/** Brings both to the same point first: the later one is right. */
export function startRecorder(
  database: RegistryDatabase,
  journal: Journal,
): { readonly recorder: Recorder; readonly recovery: Recovery } {
  const recovery = recover(database, journal);
  let compactAtBytes = Math.max(COMPACT_BYTES, 2 * journal.sizeBytes());
  const recorder: Recorder = {
    record: (transaction, changes) => {
      if (changes.length === 0) return;
      const number = readNumber(transaction) + 1;
      writeNumber(transaction, number);
      // Last: a line without its transaction does less harm than a transaction without its line.
      journal.append({ number, changes });
    },
    compact: () => {
      if (journal.sizeBytes() < compactAtBytes) return;
      writeSnapshot(database, journal);
      compactAtBytes = Math.max(COMPACT_BYTES, 2 * journal.sizeBytes());
    },
  };
  return { recorder, recovery };
}

function recover(database: RegistryDatabase, journal: Journal): Recovery {
  const known = readNumber(database);
  if (known >= 0 && journal.lastNumber() === known) return { replayed: 0, damaged: 0 };
  const { replayed, damaged } = replay(database, journal, known);
  if (damaged > 0) journal.setAside();
  if (readNumber(database) < 0) writeNumber(database, 0);
  if (journal.lastNumber() !== readNumber(database)) writeSnapshot(database, journal);
  return { replayed, damaged };
}

/** Does again what the database does not know. The number comes last, so a kill in between means: once more. */
function replay(database: RegistryDatabase, journal: Journal, known: number): Recovery {
  let damaged = 0;
  let replayed = 0;
  let last = known;
  let batch: JournalLine[] = [];
  const apply = (): void => {
    database.transaction((transaction) => {
      for (const { changes } of batch) {
        for (const change of changes) applyChange(transaction, change);
      }
    });
    replayed += batch.length;
    batch = [];
  };
  for (const line of journal.readAll()) {
    if (line === undefined) damaged += 1;
    else if (line.number > known) {
      batch.push(line);
      last = line.number;
      if (batch.length >= REPLAY_BATCH) apply();
    }
  }
  apply();
  if (last > known) writeNumber(database, last);
  return { replayed, damaged };
}

function writeSnapshot(database: RegistryDatabase, journal: Journal): void {
  journal.replace(toLines(readNumber(database), describeAll(database)));
}

/** Begins with a line that is never missing, so that an empty store has a journal too. */
function* toLines(number: number, changes: Iterable<Change>): Generator<JournalLine> {
  yield { number, changes: [] };
  let batch: Change[] = [];
  for (const change of changes) {
    batch.push(change);
    if (batch.length < SNAPSHOT_BATCH) continue;
    yield { number, changes: batch };
    batch = [];
  }
  if (batch.length > 0) yield { number, changes: batch };
}

/** The number of the last change in the database; -1 when it has never known a journal. */
function readNumber(database: Pick<Transaction, "select">): number {
  const row = database.select().from(progress).where(eq(progress.task, TASK)).get();
  return row === undefined ? -1 : Number(row.position);
}

function writeNumber(database: Pick<Transaction, "insert">, number: number): void {
  const position = String(number);
  database
    .insert(progress)
    .values({ task: TASK, position })
    .onConflictDoUpdate({ target: progress.task, set: { position } })
    .run();
}
