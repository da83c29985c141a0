/** Makes an installation of a backup. Everything is checked before anything that is there is touched. */
import { createReadStream, createWriteStream, existsSync } from "node:fs";
import { mkdir, open } from "node:fs/promises";
import { dirname, join } from "node:path";
import type { Readable } from "node:stream";

import type { BackupManifest, BackupPart } from "@strata/protocol/api/backups";
import { getErrorCode } from "@strata/protocol/errors";

import { ControllerError } from "../errors.ts";
import { readEpochs, turnIntoRestored } from "../store/copy.ts";
import { lockData } from "../store/lock.ts";
import { unpackArchive } from "./archive.ts";
import { checkCopies } from "./check-copies.ts";
import { decrypt, HEADER_BYTES, isEncrypted, type Keys } from "./encryption.ts";
import { removeTree } from "./remove-tree.ts";
import { DATABASE, METADATA } from "./stage.ts";
import { finishSwap, makeReady } from "./swap.ts";

export type Restore = {
  /** Path of the archive. */
  readonly file: string;
  /** STRATA_DATA of the installation that it becomes. */
  readonly data: string;
  readonly keys: Keys;
  readonly nowMs: number;
  /** The new one: random. */
  readonly epoch: string;
  /** How long to wait for a controller that is on its way out [5 s]. */
  readonly patienceMs?: number;
};

export type Restored = {
  readonly manifest: BackupManifest;
  /** Holds what was replaced; undefined when there was nothing. */
  readonly aside: string | undefined;
};

/** What a backup may hold; nothing else is ever written. */
const PLACES =
  /^(?:controller\/(?:strata\.db|secrets\.key|ca\/[a-z0-9.-]{1,60})|admin-token|instance\.env|store\/(?:store\.db|store-id|blobs\/sha(?:256|512)\/[0-9a-f]{2}\/[0-9a-f]{64,128}))$/;
/** Stays as it is where there is one: it has the settings of its machine. */
const OWN = "instance.env";

/** @throws ControllerError DATA_IN_USE, BACKUP_INVALID, BACKUP_SEALED, DATABASE_NEWER, BACKUP_FAILED: nothing that was
 * there is changed then */
export async function restore(request: Restore): Promise<Restored> {
  const { data, patienceMs } = request;
  await mkdir(data, { recursive: true, mode: 0o755 });
  const options = patienceMs === undefined ? {} : { patienceMs };
  const lock = lockData(join(data, "controller", "lock"), options);
  const folder = join(data, "restore-new");
  try {
    finishSwap(data);
    await removeTree(folder);
    const manifest = await unpack(request, folder);
    await requireWhole(folder, manifest);
    const at = new Date(request.nowMs).toISOString();
    const follows = existsSync(join(data, DATABASE)) ? readEpochs(join(data, DATABASE)) : [];
    const { epoch } = request;
    turnIntoRestored(join(folder, DATABASE), { epoch, follows, at, backupAt: manifest.createdAt });
    await sync(join(folder, DATABASE));
    makeReady(data, folder, at.replaceAll(":", "-").replace(/\.\d+/, ""));
    return { manifest, aside: finishSwap(data) };
  } catch (error) {
    await removeTree(folder);
    throw /^(ENOSPC|EDQUOT)$/.test(getErrorCode(error) ?? "") ? full(data, error) : error;
  } finally {
    lock.close();
  }
}

async function unpack(request: Restore, folder: string): Promise<BackupManifest> {
  const keepsOwn = existsSync(join(request.data, OWN));
  const made = new Set<string>();
  const files: string[] = [];
  const archive = await openArchive(request);
  const manifest = await unpackArchive(archive, {
    onManifest: async ({ parts }) => {
      for (const { path } of parts) {
        if (!PLACES.test(path)) throw invalid(`${path} has no place in an installation`);
        const parent = dirname(join(folder, path));
        if (!made.has(parent)) await mkdir(parent, { recursive: true, mode: 0o700 });
        made.add(parent);
      }
    },
    sinkOf: ({ path }: BackupPart) => {
      const file = keepsOwn && path === OWN ? "/dev/null" : join(folder, path);
      files.push(file);
      return createWriteStream(file, { mode: 0o600 });
    },
  });
  for (const file of files) if (file !== "/dev/null") await sync(file);
  for (const parent of made) await sync(parent);
  return manifest;
}

async function openArchive({ file, keys }: Restore): Promise<Readable> {
  const start = await readStart(file);
  const bytes = createReadStream(file, { highWaterMark: 256 * 1024 });
  return isEncrypted(start) ? decrypt(bytes, keys) : bytes;
}

async function readStart(file: string): Promise<Buffer> {
  try {
    const handle = await open(file, "r");
    try {
      const { buffer, bytesRead } = await handle.read(
        Buffer.alloc(HEADER_BYTES),
        0,
        HEADER_BYTES,
        0,
      );
      return buffer.subarray(0, bytesRead);
    } finally {
      await handle.close();
    }
  } catch (cause) {
    throw new ControllerError("BACKUP_INVALID", `${file} cannot be read`, {
      cause,
      hint: "name the file of a backup",
    });
  }
}

/** The databases say of themselves what the manifest says of them. */
async function requireWhole(folder: string, manifest: BackupManifest): Promise<void> {
  const names = new Set(manifest.parts.map(({ path }) => path));
  for (const name of [DATABASE, METADATA])
    if (!names.has(name)) throw invalid(`${name} is missing`);
  const { facts } = await checkCopies({
    controller: join(folder, DATABASE),
    store: join(folder, METADATA),
  });
  if (facts.epoch !== manifest.epoch) throw invalid("its database is of another epoch");
  for (const [table, count] of Object.entries(manifest.rows)) {
    if (facts.rows[table] !== count)
      throw invalid(`${table} has ${facts.rows[table] ?? 0} rows instead of ${count}`);
  }
}

async function sync(path: string): Promise<void> {
  const handle = await open(path, "r");
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
}

function invalid(what: string): ControllerError {
  return new ControllerError("BACKUP_INVALID", `this is no whole backup: ${what}`, {
    hint: "take another backup",
  });
}

function full(data: string, cause: unknown): ControllerError {
  return new ControllerError("BACKUP_FAILED", `the disk of ${data} is full`, {
    cause,
    hint: "make room there: while it is restored, a backup needs its unpacked size beside what is there",
  });
}
