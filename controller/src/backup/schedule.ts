/** Backups by the clock, into a folder that keeps the last few. */
import { createHash } from "node:crypto";
import { createReadStream, createWriteStream } from "node:fs";
import { mkdir, open, readdir, rename, rm, stat } from "node:fs/promises";
import { join } from "node:path";
import { type Readable, Writable } from "node:stream";
import { pipeline } from "node:stream/promises";

import type { BackupFile, BackupList } from "@strata/protocol/api/backups";
import { CodedError } from "@strata/protocol/errors";
import type { Logger } from "pino";

import type { Store } from "../store/unit.ts";
import { unpackArchive } from "./archive.ts";
import { type Backups, failed } from "./backups.ts";
import { encrypt } from "./encryption.ts";
import { nameBackup, PARTIAL, sortBackups, surplus, timeOfBackup, untilDue } from "./kept.ts";

export type ScheduleOptions = {
  readonly backups: Backups;
  readonly store: Store;
  /** Undefined makes none. */
  readonly directory: string | undefined;
  readonly everyMs: number;
  /** As many are kept, 1 at least. */
  readonly keep: number;
  readonly blobs: boolean;
  /** Public keys of age; none leaves them readable. */
  readonly recipients: readonly string[];
  readonly nowMs: () => number;
  readonly logger: Logger;
  /** For /metrics. */
  readonly onDone: (done: { readonly atMs: number; readonly ok: boolean }) => void;
};

export type Schedule = {
  /** Makes one when it is due. Milliseconds until there is more to do. Never throws. */
  readonly tick: (signal: AbortSignal) => Promise<number>;
  readonly list: () => Promise<BackupList>;
};

/** After one that failed. */
const RETRY_MS = 5 * 60_000;
const NEVER_MS = 24 * 3_600_000;

export function createSchedule(options: ScheduleOptions): Schedule {
  const { directory, everyMs, keep, nowMs, logger, onDone } = options;
  let lastTry: BackupList["lastTry"] = null;
  let retryAtMs = -Infinity;
  const tryOne = async (folder: string, signal: AbortSignal): Promise<void> => {
    const at = new Date(nowMs()).toISOString();
    try {
      const made = await makeOne(options, folder, signal);
      lastTry = { at, problem: null };
      onDone({ atMs: nowMs(), ok: true });
      announce(options, {
        type: "backup.completed",
        message: `backup ${made.file} is made`,
        data: made,
      });
    } catch (error) {
      if (signal.aborted) return;
      retryAtMs = nowMs() + RETRY_MS;
      const { message } = error instanceof CodedError ? error : failed(error, folder);
      lastTry = { at, problem: message };
      onDone({ atMs: nowMs(), ok: false });
      logger.error({ err: error, directory: folder }, "a backup failed");
      announce(options, {
        type: "backup.failed",
        message: `no backup was made: ${message}`,
        data: {},
      });
    }
  };
  return {
    tick: async (signal) => {
      if (directory === undefined) return NEVER_MS;
      const nowAtMs = nowMs();
      const names = await readdir(directory).catch(() => []);
      const waitMs = Math.max(untilDue(names, { nowMs: nowAtMs, everyMs }), retryAtMs - nowAtMs);
      if (waitMs > 0) return waitMs;
      await tryOne(directory, signal);
      return Math.min(everyMs, RETRY_MS);
    },
    list: async () => ({
      directory: directory ?? null,
      everySeconds: everyMs / 1000,
      keep,
      lastTry,
      items: directory === undefined ? [] : await listFiles(directory),
    }),
  };
}

/** Written under another name, to the disk, read again, and only then what it is called; the oldest go last. */
async function makeOne(
  { backups, blobs, recipients, keep, nowMs }: ScheduleOptions,
  folder: string,
  signal: AbortSignal,
): Promise<{ readonly file: string; readonly sizeBytes: number }> {
  await mkdir(folder, { recursive: true, mode: 0o700 });
  for (const name of await readdir(folder)) {
    if (timeOfBackup(name.replace(PARTIAL, "")) !== undefined && name.endsWith(PARTIAL))
      await rm(join(folder, name));
  }
  const file = nameBackup(nowMs(), { encrypted: recipients.length > 0 });
  const partial = join(folder, `${file}${PARTIAL}`);
  try {
    await using backup = await backups.open({ blobs, signal });
    const plain = backup.archive;
    const bytes = recipients.length === 0 ? plain : await encrypt(plain, recipients);
    const digest = await writeFile(bytes, partial, signal);
    await verify(partial, { digest, isPlain: recipients.length === 0 });
  } catch (error) {
    await rm(partial, { force: true });
    throw error;
  }
  await rename(partial, join(folder, file));
  await sync(folder);
  for (const name of surplus(await readdir(folder), keep)) await rm(join(folder, name));
  const { size: sizeBytes } = await stat(join(folder, file));
  return { file, sizeBytes };
}

/** Gives the SHA-256 of what was written, which is on the disk when it returns. */
async function writeFile(bytes: Readable, path: string, signal: AbortSignal): Promise<string> {
  const hash = createHash("sha256");
  await pipeline(
    bytes,
    async function* count(source: AsyncIterable<Buffer>) {
      for await (const chunk of source) {
        hash.update(chunk);
        yield chunk;
      }
    },
    createWriteStream(path, { flags: "wx", mode: 0o600 }),
    { signal },
  );
  await sync(path);
  return hash.digest("hex");
}

/** Reads it from the disk; what it says of itself is checked as well, where it can be read. */
async function verify(
  path: string,
  { digest, isPlain }: { readonly digest: string; readonly isPlain: boolean },
): Promise<void> {
  const hash = createHash("sha256");
  await pipeline(createReadStream(path), hash);
  if (hash.digest("hex") !== digest) throw failed(new Error("read other bytes than written"), path);
  if (isPlain) await unpackArchive(createReadStream(path), { sinkOf: () => nowhere() });
}

function nowhere(): Writable {
  return new Writable({ write: (_chunk, _encoding, done) => done() });
}

async function listFiles(directory: string): Promise<BackupFile[]> {
  const names = sortBackups(await readdir(directory).catch(() => []));
  return Promise.all(
    names.map(async (file) => {
      const { size: sizeBytes } = await stat(join(directory, file));
      const createdAt = new Date(timeOfBackup(file) ?? 0).toISOString();
      return { file, sizeBytes, createdAt };
    }),
  );
}

async function sync(path: string): Promise<void> {
  const handle = await open(path, "r");
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
}

/** Never throws: the disk that is full may be the database's, too. */
function announce(
  { store, logger }: ScheduleOptions,
  event: { readonly type: string; readonly message: string; readonly data: object },
): void {
  try {
    store.write((unit) => unit.emit({ ...event, subject: "controller", data: { ...event.data } }));
  } catch (err) {
    logger.error({ err }, "a backup could not be announced");
  }
}
