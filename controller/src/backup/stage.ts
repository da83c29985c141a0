/** Puts a consistent picture of an installation into a folder: copies of the databases, made while they are used; the
 * few files beside them; and, where they are wanted, links to the blobs. */
import { createHash } from "node:crypto";
import { createReadStream, existsSync } from "node:fs";
import { copyFile, link, mkdir, readdir, stat } from "node:fs/promises";
import { dirname, join } from "node:path";
import { pipeline } from "node:stream/promises";

import { BACKUP_FORMAT, type BackupManifest, type BackupPart } from "@strata/protocol/api/backups";
import { getErrorCode } from "@strata/protocol/errors";
import { type Digest, digestAlgorithm, digestHex, parseDigest } from "@strata/protocol/oci/digest";

import { VERSION } from "../version.ts";
import type { StagedPart } from "./archive.ts";
import { checkCopies, type CheckedCopies } from "./check-copies.ts";

export type Sources = {
  /** STRATA_DATA. */
  readonly dataDirectory: string;
  readonly copyDatabase: (file: string) => Promise<void>;
  readonly copyMetadata: (file: string) => Promise<void>;
  /** Whether the store's blobs are elsewhere than in the data. */
  readonly hasBucket: boolean;
};

export type Stage = {
  /** Below the data, so that links can be made; ours to fill. */
  readonly folder: string;
  readonly blobs: boolean;
  /** RFC 3339. */
  readonly at: string;
  readonly signal: AbortSignal;
};

export type Staged = {
  readonly manifest: BackupManifest;
  readonly parts: readonly StagedPart[];
};

export const DATABASE = "controller/strata.db";
export const METADATA = "store/store.db";
/** Read once the databases are copied: a key that the copy needs was there before. */
const FILES = ["controller/secrets.key", "admin-token", "instance.env", "store/store-id"];
const CA = "controller/ca";
/** Blobs that were pushed while the metadata were copied are looked for so often. */
const LOOKS_MAX = 3;

/** @throws ControllerError BACKUP_INVALID when a copy is damaged; ENOSPC, SQLITE_FULL when the disk is full */
export async function stage(sources: Sources, request: Stage): Promise<Staged> {
  const { dataDirectory } = sources;
  const { folder, signal } = request;
  await mkdir(join(folder, "controller"), { recursive: true, mode: 0o700 });
  await mkdir(join(folder, "store"), { recursive: true, mode: 0o700 });
  await sources.copyDatabase(join(folder, DATABASE));
  signal.throwIfAborted();
  const { checked, missing } = await stageStore(sources, request);
  const names = [...FILES, ...(await listCa(dataDirectory))];
  const present = names.filter((name) => existsSync(join(dataDirectory, name)));
  for (const name of present) {
    await mkdir(dirname(join(folder, name)), { recursive: true, mode: 0o700 });
    await copyFile(join(dataDirectory, name), join(folder, name));
  }
  const files = await Promise.all(
    [DATABASE, METADATA, ...present].map((name) => describeFile(folder, name)),
  );
  const lost = new Set(missing);
  const blobs = request.blobs ? checked.blobs.filter(({ digest }) => !lost.has(digest)) : [];
  const parts = [
    ...files,
    ...blobs.map(({ digest, sizeBytes }) => {
      const path = blobPath(digest);
      return { path, sizeBytes, digest, file: join(folder, path) };
    }),
  ];
  return { manifest: describe(sources, request, { checked, missing, parts }), parts };
}

/** Blobs are linked before and after the metadata are copied: one that is deleted meanwhile was linked before, one
 * that is pushed meanwhile is there after. What is missing even then is tried with a new copy. */
async function stageStore(
  { dataDirectory, copyMetadata }: Sources,
  { folder, blobs, signal }: Stage,
): Promise<{ readonly checked: CheckedCopies; readonly missing: readonly Digest[] }> {
  const linked = new Set<Digest>();
  const links = { dataDirectory, folder, signal, linked };
  const copies = { controller: join(folder, DATABASE), store: join(folder, METADATA) };
  if (blobs) {
    const early = join(folder, "early.db");
    await copyMetadata(early);
    const { blobs: first } = await checkCopies({ ...copies, store: early });
    await linkBlobs(
      first.map(({ digest }) => digest),
      links,
    );
  }
  for (let look = 1; ; look += 1) {
    await copyMetadata(copies.store);
    const checked = await checkCopies(copies);
    const digests = blobs ? checked.blobs.map(({ digest }) => digest) : [];
    const missing = await linkBlobs(digests, links);
    if (missing.length === 0 || look === LOOKS_MAX) return { checked, missing };
  }
}

type Links = {
  readonly dataDirectory: string;
  readonly folder: string;
  readonly signal: AbortSignal;
  /** Those that need no more work. */
  readonly linked: Set<Digest>;
};

/** Gives those that have no file. */
async function linkBlobs(
  digests: readonly Digest[],
  { dataDirectory, folder, signal, linked }: Links,
): Promise<readonly Digest[]> {
  const missing: Digest[] = [];
  const folders = new Set<string>();
  for (const digest of digests) {
    signal.throwIfAborted();
    if (linked.has(digest)) continue;
    const path = blobPath(digest);
    const target = join(folder, path);
    if (!folders.has(dirname(target))) await mkdir(dirname(target), { recursive: true });
    folders.add(dirname(target));
    if (await linkOrCopy(join(dataDirectory, path), target)) linked.add(digest);
    else missing.push(digest);
  }
  return missing;
}

async function linkOrCopy(from: string, to: string): Promise<boolean> {
  try {
    await link(from, to).catch(async (error: unknown) => {
      const code = getErrorCode(error);
      if (code === "EEXIST") return;
      // Another file system, or one that has no links.
      if (code !== "EXDEV" && code !== "EPERM" && code !== "EMLINK") throw error;
      await copyFile(from, to);
    });
    return true;
  } catch (error) {
    if (getErrorCode(error) === "ENOENT") return false;
    throw error;
  }
}

/** As the store's driver for files lays them out. */
function blobPath(digest: Digest): string {
  const hex = digestHex(digest);
  return `store/blobs/${digestAlgorithm(digest)}/${hex.slice(0, 2)}/${hex}`;
}

async function listCa(dataDirectory: string): Promise<readonly string[]> {
  const names = await readdir(join(dataDirectory, CA)).catch(() => []);
  return names.filter((name) => !name.endsWith(".new")).map((name) => `${CA}/${name}`);
}

async function describeFile(folder: string, path: string): Promise<StagedPart> {
  const file = join(folder, path);
  const hash = createHash("sha256");
  await pipeline(createReadStream(file, { highWaterMark: 256 * 1024 }), hash);
  const { size: sizeBytes } = await stat(file);
  return { path, sizeBytes, digest: parseDigest(`sha256:${hash.digest("hex")}`), file };
}

type Found = {
  readonly checked: CheckedCopies;
  readonly missing: readonly Digest[];
  readonly parts: readonly BackupPart[];
};

function describe(
  { hasBucket }: Sources,
  { blobs, at }: Stage,
  { checked, missing, parts }: Found,
): BackupManifest {
  const { epoch, schema, rows } = checked.facts;
  return {
    format: BACKUP_FORMAT,
    version: VERSION,
    schema,
    createdAt: at,
    epoch,
    blobs: hasBucket ? "in a bucket" : blobs ? "included" : "left out",
    blobsMissing: missing.length,
    rows,
    parts: parts.map(({ path, sizeBytes, digest }) => ({ path, sizeBytes, digest })),
  };
}
