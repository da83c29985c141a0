/** Deltas between layers of one repository, for nodes that have the older one: made once, beside the controller's own
 * thread, and kept in a folder. The form is that of docs/reference/bundles.md. */
import { createHash } from "node:crypto";
import { mkdirSync, readdirSync, readFileSync, rmSync, statSync, utimesSync } from "node:fs";
import { rename, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { Worker } from "node:worker_threads";

import { getErrorCode } from "@strata/protocol/errors";
import { type Digest, parseDigest } from "@strata/protocol/oci/digest";

import { ControllerError } from "../errors.ts";
import type { ImageSource } from "./inspect-image.ts";

export type DeltaWish = {
  readonly repository: string;
  /** The layer's blob that is wanted. */
  readonly digest: Digest;
  /** Blobs that the node has, the likeliest first. */
  readonly bases: readonly Digest[];
};

export type Delta = MadeDelta & {
  /** `applyDelta(their archives in this order, bytes, archiveBytes)` gives the layer's archive. */
  readonly bases: readonly Digest[];
};

export type DeltaBook = {
  /** Undefined when none would save much, the layers are too large, or no base is of the same repository. One is made
   * at a time; who asks for the same one waits for the same one.
   * @throws ControllerError TOO_MANY */
  readonly find: (wish: DeltaWish) => Promise<Delta | undefined>;
};

export type DeltaOptions = {
  readonly directory: string;
  readonly images: Pick<ImageSource, "readBlob">;
  /** The largest blob that is told by a difference; that takes about fifteen times as much memory. 0: none. */
  readonly blobBytesMax: number;
  readonly nowMs: () => number;
};

/** What the thread is given, and gives back: undefined when a delta saves too little. */
export type DeltaJob = {
  readonly bases: readonly Uint8Array[];
  readonly target: Uint8Array;
};
export type MadeDelta = { readonly bytes: Uint8Array; readonly archiveBytes: number };
export type DeltaResult = MadeDelta | undefined;

/** Smaller ones are as quickly sent whole. */
const BLOB_BYTES_MIN = 16 * 1024;
const BASES_MAX = 2;
const WAITING_MAX = 8;
const MAKING_MS_MAX = 120_000;
const FOLDER_BYTES_MAX = 1024 ** 3;
/** How many pairs are remembered that have no delta worth its while. */
const USELESS_MAX = 10_000;

export function createDeltaBook(options: DeltaOptions): DeltaBook {
  const making = new Map<string, Promise<Delta | undefined>>();
  const useless = new Set<string>();
  let last: Promise<unknown> = Promise.resolve();
  const make = async (wish: DeltaWish, file: string): Promise<Delta | undefined> => {
    const made = await makeDelta(options, wish);
    if (made !== undefined) await keep(options.directory, file, made);
    return made;
  };
  return {
    find: async (wish) => {
      if (options.blobBytesMax === 0) return undefined;
      const bases = wish.bases.slice(0, BASES_MAX);
      const key = nameOf(wish.digest, bases);
      if (useless.has(key)) return undefined;
      const file = join(options.directory, key);
      const kept = readKept(file, options.nowMs());
      if (kept !== undefined) return kept;
      const underWay = making.get(key);
      if (underWay !== undefined) return await underWay;
      if (making.size >= WAITING_MAX) throw tooMany();
      const turn = last.then(() => make({ ...wish, bases }, file));
      last = turn.catch(() => undefined);
      making.set(key, turn);
      try {
        const made = await turn;
        if (made === undefined) remember(useless, key);
        return made;
      } finally {
        making.delete(key);
      }
    },
  };
}

function nameOf(digest: Digest, bases: readonly Digest[]): string {
  return hashOf(Buffer.from([digest, ...bases].join(" ")));
}

function remember(keys: Set<string>, key: string): void {
  keys.add(key);
  const [oldest] = keys;
  if (keys.size > USELESS_MAX && oldest !== undefined) keys.delete(oldest);
}

/** A base that is not of the repository counts as none: whoever may pull the one may not need to see the other. */
async function makeDelta(
  { images, blobBytesMax }: DeltaOptions,
  { repository, digest, bases }: DeltaWish,
): Promise<Delta | undefined> {
  const read = (wanted: Digest): Promise<Uint8Array | undefined> =>
    images.readBlob({ repository, digest: wanted, sizeBytesMax: blobBytesMax });
  const target = await read(digest);
  if (target === undefined || target.length < BLOB_BYTES_MIN) return undefined;
  const found: { readonly digest: Digest; readonly bytes: Uint8Array }[] = [];
  for (const base of bases) {
    const bytes = await read(base);
    if (bytes !== undefined) found.push({ digest: base, bytes });
  }
  if (found.length === 0) return undefined;
  const made = await runJob({ bases: found.map(({ bytes }) => bytes), target });
  return made && { ...made, bases: found.map((base) => base.digest) };
}

/** A blob that is too odd, or too large once it is taken apart, has no delta; nor has one that takes too long. */
async function runJob(job: DeltaJob): Promise<DeltaResult> {
  const worker = new Worker(new URL("./delta-worker.ts", import.meta.url), { workerData: job });
  const { promise, resolve } = Promise.withResolvers<DeltaResult>();
  const timer = setTimeout(() => resolve(undefined), MAKING_MS_MAX);
  worker.once("message", resolve);
  worker.once("error", () => resolve(undefined));
  try {
    return await promise;
  } finally {
    clearTimeout(timer);
    await worker.terminate();
  }
}

/** First a line with the hash of the delta, the archive's size and the bases, then the delta. The folder is a cache: what
 * a loss of power takes or damages is made again. */
async function keep(directory: string, file: string, delta: Delta): Promise<void> {
  const { bases, bytes, archiveBytes } = delta;
  const head = [hashOf(bytes), archiveBytes, ...bases].join(" ");
  mkdirSync(directory, { recursive: true, mode: 0o700 });
  await writeFile(`${file}.new`, [`${head}\n`, bytes], { mode: 0o600 });
  await rename(`${file}.new`, file);
  trim(directory);
}

function readKept(file: string, nowMs: number): Delta | undefined {
  try {
    const content = readFileSync(file);
    const end = content.indexOf("\n");
    const [hash, size, ...bases] = content.toString("latin1", 0, Math.max(0, end)).split(" ");
    const bytes = content.subarray(end + 1);
    if (hash !== hashOf(bytes)) return undefined;
    utimesSync(file, nowMs / 1000, nowMs / 1000);
    return { bases: bases.map(parseDigest), archiveBytes: Number(size), bytes };
  } catch (error) {
    if (getErrorCode(error) === "ENOENT") return undefined;
    throw error;
  }
}

function hashOf(bytes: Uint8Array): string {
  return createHash("sha256").update(bytes).digest("hex");
}

/** Those used longest ago go first. */
function trim(directory: string): void {
  const files = readdirSync(directory).map((name) => {
    const { size, mtimeMs } = statSync(join(directory, name));
    return { name, size, mtimeMs };
  });
  let bytes = files.reduce((total, { size }) => total + size, 0);
  for (const { name, size } of files.toSorted((left, right) => left.mtimeMs - right.mtimeMs)) {
    if (bytes <= FOLDER_BYTES_MAX) return;
    rmSync(join(directory, name), { force: true });
    bytes -= size;
  }
}

function tooMany(): ControllerError {
  return new ControllerError("TOO_MANY", `${WAITING_MAX} deltas are being made already`, {
    hint: "pull the whole layer",
    retryable: true,
  });
}
